//! Load balancers that write statuses, by the name of their field manager: which product that is,
//! and how it is switched off.
//!
//! A program that gives no name of its own is called like its file (client-go), so a name says
//! which program wrote, and no more.

use crate::names::FIELD_MANAGER;

/// A load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// What people call it.
    pub name: &'static str,
    /// How it is told to leave Services to others: the end of "to do that, …".
    pub switch_off: &'static str,
}

enum Name {
    Is(&'static str),
    Begins(&'static str),
    Holds(&'static str),
}

use Name::{Begins, Holds, Is};

const SERVICE_LB: Product = Product {
    name: "ServiceLB",
    switch_off: "start every k3s server with --disable=servicelb",
};
const RKE2: Product = Product {
    name: "ServiceLB of RKE2",
    switch_off: "start every RKE2 server without --enable-servicelb",
};
const KUBE_VIP: Product = Product {
    name: "kube-vip",
    switch_off: "set svc_enable to false for kube-vip and remove its cloud provider",
};
const CILIUM: Product = Product {
    name: "Cilium's LB IPAM",
    switch_off: "delete its CiliumLoadBalancerIPPools, or narrow their serviceSelector",
};
const PURE_LB: Product = Product {
    name: "PureLB",
    switch_off: "uninstall PureLB",
};
const OPEN_ELB: Product = Product {
    name: "OpenELB",
    switch_off: "uninstall OpenELB",
};
const LOXI_LB: Product = Product {
    name: "LoxiLB",
    switch_off: "uninstall kube-loxilb",
};
const KIND: Product = Product {
    name: "cloud-provider-kind",
    switch_off: "stop cloud-provider-kind",
};
const ANTREA: Product = Product {
    name: "Antrea's external IPs",
    switch_off: "switch Antrea's feature ServiceExternalIP off",
};
const CALICO: Product = Product {
    name: "Calico's LoadBalancer IPAM",
    switch_off: "set assignIPs: RequestedServicesOnly for Calico's load balancer controller",
};
const MINIKUBE: Product = Product {
    name: "minikube tunnel",
    switch_off: "stop minikube tunnel",
};
const IN_TREE: Product = Product {
    name: "the cloud provider of kube-controller-manager",
    switch_off: "start kube-controller-manager without service-lb-controller (--controllers)",
};
const CLOUD: Product = Product {
    name: "a cloud's controller manager",
    switch_off: "start it without its Service controller (--controllers=*,-service-lb-controller)",
};

const METAL_LB: Product = Product {
    name: "MetalLB",
    switch_off: "uninstall MetalLB, or whatever else is called controller",
};
const FERRO_LB: Product = Product {
    name: "another FerroLB",
    switch_off: "uninstall one of the two, or give each a loadBalancerClass",
};

/// The first that fits counts.
const KNOWN: [(Name, Product); 24] = [
    (Is("controller"), METAL_LB),
    (Is(FIELD_MANAGER), FERRO_LB),
    (Is("k3s"), SERVICE_LB),
    // Its cloud controller runs on its own in k3s' later versions, too.
    (Is("k3s-cloud-controller-manager"), SERVICE_LB),
    (Begins("rke2"), RKE2),
    (Begins("kube-vip"), KUBE_VIP),
    // -generic, -aws, …, and the name that it gives itself: -lb-ipam.
    (Begins("cilium-operator"), CILIUM),
    (Begins("purelb"), PURE_LB),
    // PureLB's programs.
    (Is("allocator"), PURE_LB),
    (Is("lbnodeagent"), PURE_LB),
    (Begins("openelb"), OPEN_ELB),
    // OpenELB's former name.
    (Begins("porter-manager"), OPEN_ELB),
    (Begins("kube-loxilb"), LOXI_LB),
    (Begins("cloud-provider-kind"), KIND),
    (Begins("antrea-controller"), ANTREA),
    (Is("kube-controllers"), CALICO),
    (Begins("calico-kube-controllers"), CALICO),
    (Begins("minikube"), MINIKUBE),
    (Is("kube-controller-manager"), IN_TREE),
    // aws-, azure-, openstack-, hcloud-, and so on.
    (Holds("cloud-controller-manager"), CLOUD),
    (Holds("cloud-provider"), CLOUD),
    (Holds("-ccm"), CLOUD),
    (Is("ccm"), CLOUD),
    // Google's.
    (Is("glbc"), CLOUD),
];

/// The product whose field manager is called so.
#[must_use]
pub fn product(manager: &str) -> Option<Product> {
    let fits = |name: &Name| match name {
        Is(name) => manager == *name,
        Begins(name) => manager.starts_with(name),
        Holds(name) => manager.contains(name),
    };
    let known = KNOWN.iter().find(|(name, _)| fits(name));
    known.map(|(_, product)| *product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_known_by_the_name_of_its_manager() {
        let rows = [
            ("k3s", Some("ServiceLB")),
            ("k3s-cloud-controller-manager", Some("ServiceLB")),
            ("kube-vip", Some("kube-vip")),
            ("kube-vip-cloud-provider", Some("kube-vip")),
            ("cilium-operator-generic", Some("Cilium's LB IPAM")),
            ("cilium-operator-lb-ipam", Some("Cilium's LB IPAM")),
            ("allocator", Some("PureLB")),
            ("lbnodeagent", Some("PureLB")),
            ("openelb-manager", Some("OpenELB")),
            ("porter-manager", Some("OpenELB")),
            ("cloud-provider-kind", Some("cloud-provider-kind")),
            (
                "aws-cloud-controller-manager",
                Some("a cloud's controller manager"),
            ),
            (
                "cloud-controller-manager",
                Some("a cloud's controller manager"),
            ),
            (
                "kube-controller-manager",
                Some("the cloud provider of kube-controller-manager"),
            ),
            ("k3scraper", None),
            ("something-else", None),
            ("", None),
        ];
        for (manager, want) in rows {
            let known = product(manager).map(|product| product.name);
            assert_eq!(known, want, "{manager:?}");
        }
    }
}
