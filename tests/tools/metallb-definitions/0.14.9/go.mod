// Of MetalLB 0.14.9 only the definitions of its objects are read: a test has them in its API server.
module ferrolb.io/lab/metallb-definitions

go 1.26.0

require go.universe.tf/metallb v0.14.9
