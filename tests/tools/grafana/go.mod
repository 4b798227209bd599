module ferrolb.io/lab/grafana

go 1.24

tool ferrolb.io/lab/grafana

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
