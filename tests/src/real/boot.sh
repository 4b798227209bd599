# Process 1 of a node, in mount and process namespaces of its own: makes the node's file system out
# of the machine's, then waits and reaps. Arguments: the node's name, its data, the lab's state.
set -eu
name=$1 data=$2 state=$3

hostname "$name"

# This copy of the mount table would keep every named network namespace of the machine alive after
# its deletion.
for point in $(awk '$3 == "nsfs" { print $2 }' /proc/self/mounts); do
    umount --lazy "$point"
done

# Fixed paths that would collide between nodes: /run/containerd, /run/xtables.lock,
# /var/lib/kubelet/device-plugins, /var/lib/cni, /var/log/pods.
mkdir -p "$data/run/netns" "$data/run/lock" "$data$state"
mount --bind "$state" "$data$state"
mount --rbind "$data/run" /run
mount --bind "$data/log" /var/log
mount --bind "$data/lib" /var/lib

touch /run/up
exec catatonit -P
