//! What this ServiceAccount may do, asked once instead of found out by refusals.

use k8s_openapi::Resource as _;
use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::PostParams;
use kube::{Api, Client};

use ferrolb_core::config::objects::Kind;
use ferrolb_core::dead::VOTES_NAME;
use ferrolb_core::names::CONFLICTS_NAME;

use crate::network::API_SERVER;
use crate::writer::Method;

/// The plural of `ServiceCIDR`.
const SERVICE_RANGES: &str = "servicecidrs";

/// The rights that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// `patch` on `services/status`.
    pub patch_status: bool,
    /// `update` on `services/status`.
    pub update_status: bool,
    /// `create` on core v1 `events`.
    pub create_events: bool,
    /// `list` and `watch` on `nodes`.
    pub watch_nodes: bool,
    /// `list` and `watch` on `namespaces`.
    pub watch_namespaces: bool,
    /// `create`, `list`, `watch` and `update` on our Lease.
    pub elect: bool,
    /// `list`, `watch` and `patch` on the `ConfigMap` of conflict reports.
    pub conflicts: bool,
    /// `list`, `watch` and `patch` on the compiled object.
    pub compiled: bool,
    /// `list` and `watch` on `MetalLB`'s objects.
    pub objects: bool,
    /// `patch` on `ipaddresspools/status`.
    pub pool_status: bool,
    /// `create` on `configurationstates`, and `patch` on their status.
    pub configuration_state: bool,
    /// `list` and `watch` on the API server's own `endpointslices`.
    pub api_server: bool,
    /// `list` and `watch` on `servicecidrs`, if the API server has that kind (1.33 and later).
    pub service_ranges: bool,
    /// Everything that taking pods of dead nodes out of rotation needs: `patch` on `pods/status`; `list` and
    /// `watch` on all `endpointslices`, nodes and namespaces; `list`, `watch` and `patch` on the `ConfigMap`
    /// of votes.
    pub dead_nodes: bool,
    /// Whether the right is what is missing for that.
    may_not_read_service_ranges: bool,
}

/// What to do something with.
#[derive(Clone, Copy)]
struct Thing<'a> {
    group: &'a str,
    resource: &'a str,
    /// The only object of that kind that matters, if it is one.
    name: Option<&'a str>,
}

const fn core(resource: &str) -> Thing<'_> {
    Thing {
        group: "",
        resource,
        name: None,
    }
}

impl Rights {
    /// Asks the API server, for `namespace`, the Lease called `lease` and the compiled object of that name.
    ///
    /// # Errors
    /// The API server's.
    pub async fn read(
        client: &Client,
        namespace: &str,
        lease: &str,
        compiled: &str,
    ) -> kube::Result<Self> {
        let spec = SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        };
        let review = SelfSubjectRulesReview {
            spec,
            ..SelfSubjectRulesReview::default()
        };
        let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
        let review = api.create(&PostParams::default(), &review).await?;
        let rules = review.status.map(|status| status.resource_rules);
        let mut rights = Self::of(&rules.unwrap_or_default(), lease, compiled);
        rights.service_ranges &= serves_service_ranges(client).await?;
        Ok(rights)
    }

    fn of(rules: &[ResourceRule], lease: &str, compiled: &str) -> Self {
        let may = |verbs: &[&str], thing: Thing<'_>| {
            let mut verbs = verbs.iter();
            verbs.all(|verb| rules.iter().any(|rule| allows(rule, verb, thing)))
        };
        let leases = Thing {
            group: "coordination.k8s.io",
            resource: "leases",
            name: None,
        };
        let lease = Thing {
            name: Some(lease),
            ..leases
        };
        let conflicts = Thing {
            name: Some(CONFLICTS_NAME),
            ..core("configmaps")
        };
        let compiled = Thing {
            name: Some(compiled),
            ..core("configmaps")
        };
        let metallb = |resource| Thing {
            group: Kind::GROUP,
            ..core(resource)
        };
        let may_read = |kind: Kind| may(&["list", "watch"], metallb(kind.plural()));
        let api_server = Thing {
            group: EndpointSlice::GROUP,
            resource: "endpointslices",
            name: Some(API_SERVER),
        };
        let service_ranges = Thing {
            group: ServiceCIDR::GROUP,
            resource: SERVICE_RANGES,
            name: None,
        };
        let slices = Thing {
            name: None,
            ..api_server
        };
        let votes = Thing {
            name: Some(VOTES_NAME),
            ..core("configmaps")
        };
        let may_see_pods = may(&["list", "watch"], slices)
            && may(&["list", "watch"], core("nodes"))
            && may(&["list", "watch"], core("namespaces"));
        let may_read_service_ranges = may(&["list", "watch"], service_ranges);
        Self {
            api_server: may(&["list", "watch"], api_server),
            service_ranges: may_read_service_ranges,
            may_not_read_service_ranges: !may_read_service_ranges,
            patch_status: may(&["patch"], core("services/status")),
            update_status: may(&["update"], core("services/status")),
            create_events: may(&["create"], core("events")),
            watch_nodes: may(&["list", "watch"], core("nodes")),
            watch_namespaces: may(&["list", "watch"], core("namespaces")),
            elect: may(&["create"], leases) && may(&["list", "watch", "update"], lease),
            conflicts: may(&["list", "watch", "patch"], conflicts),
            compiled: may(&["list", "watch", "patch"], compiled),
            objects: Kind::ALL.into_iter().all(may_read),
            pool_status: may(&["patch"], metallb("ipaddresspools/status")),
            configuration_state: may(&["create"], metallb("configurationstates"))
                && may(&["patch"], metallb("configurationstates/status")),
            dead_nodes: may_see_pods
                && may(&["patch"], core("pods/status"))
                && may(&["list", "watch", "patch"], votes),
        }
    }

    /// What is missing, and what that switches off, for people.
    #[must_use]
    pub fn limits(self) -> Vec<String> {
        let mut limits = Vec::new();
        if !self.watch_nodes {
            limits.push(
                "no right to watch nodes: their own addresses are given like any other, and ports \
                 that a node needs are not protected",
            );
        }
        if !self.watch_namespaces {
            limits.push(
                "no right to watch namespaces: namespace-selectors select nothing, list the names \
                 under namespaces",
            );
        }
        if !self.elect {
            limits.push("no right to leases: this controller must be the only one");
        }
        if !self.conflicts {
            limits.push(
                "no right to the ConfigMap of conflict reports: an address that another host uses \
                 is not replaced",
            );
        }
        if !(self.compiled && self.objects) {
            limits.push(
                "no right to MetalLB's objects and to the ConfigMap that speakers read them from: the configuration is \
                 read from the ConfigMap alone",
            );
        }
        if !self.api_server || self.may_not_read_service_ranges {
            limits.push(
                "no right to watch servicecidrs and the EndpointSlice of the API server: addresses that \
                 the cluster uses itself are given like any other",
            );
        }
        limits.into_iter().map(str::to_owned).collect()
    }

    /// How statuses are written.
    #[must_use]
    pub const fn method(self) -> Method {
        if self.patch_status {
            Method::Patch
        } else {
            Method::Replace
        }
    }
}

/// Whether the API server has that kind.
async fn serves_service_ranges(client: &Client) -> kube::Result<bool> {
    let group = ServiceCIDR::API_VERSION;
    match client.list_api_group_resources(group).await {
        Ok(kinds) => Ok(kinds
            .resources
            .iter()
            .any(|kind| kind.name == SERVICE_RANGES)),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 403 => Ok(false),
        Err(error) => Err(error),
    }
}

fn allows(rule: &ResourceRule, verb: &str, thing: Thing<'_>) -> bool {
    let has = |list: &[String], item: &str| list.iter().any(|one| one == "*" || one == item);
    let list =
        |list: &Option<Vec<String>>, item: &str| has(list.as_deref().unwrap_or_default(), item);
    // A rule for named objects is for them alone.
    let names = rule.resource_names.as_deref().unwrap_or_default();
    let named = names.is_empty()
        || thing
            .name
            .is_some_and(|name| names.iter().any(|one| one == name));
    named
        && has(&rule.verbs, verb)
        && list(&rule.api_groups, thing.group)
        && (list(&rule.resources, thing.resource)
            || thing
                .resource
                .split_once('/')
                .is_some_and(|(_, sub)| list(&rule.resources, &format!("*/{sub}"))))
}

#[cfg(test)]
mod tests {
    use ferrolb_core::names::{COMPILED_NAME, LEASE_NAME};

    use super::*;

    fn rights(rules: &[ResourceRule]) -> Rights {
        Rights::of(rules, LEASE_NAME, COMPILED_NAME)
    }

    fn rule(verbs: &[&str], resources: &[&str]) -> ResourceRule {
        let owned = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        ResourceRule {
            verbs: owned(verbs),
            resources: Some(owned(resources)),
            api_groups: Some(vec![String::new()]),
            resource_names: None,
        }
    }

    #[test]
    fn without_patch_a_status_is_replaced() {
        let old = [
            rule(&["update"], &["services/status"]),
            rule(&["create", "patch"], &["events"]),
        ];
        assert_eq!(rights(&old).method(), Method::Replace);
        assert!(rights(&old).create_events);
        let new = [rule(&["update", "patch"], &["services/status"])];
        assert_eq!(rights(&new).method(), Method::Patch);
        assert!(!rights(&new).create_events);
    }

    #[test]
    fn wildcards_count_and_rules_for_named_objects_do_not() {
        let all = [rule(&["*"], &["*"])];
        assert_eq!(rights(&all).method(), Method::Patch);
        let every_status = [rule(&["patch"], &["*/status"])];
        assert_eq!(rights(&every_status).method(), Method::Patch);
        let mut named = rule(&["patch"], &["services/status"]);
        named.resource_names = Some(vec!["web".to_owned()]);
        assert_eq!(rights(&[named]).method(), Method::Replace);
    }

    #[test]
    fn a_right_to_our_lease_alone_is_enough_to_elect_a_leader() {
        let leases = |verbs: &[&str], name: Option<&str>| {
            let mut rule = rule(verbs, &["leases"]);
            rule.api_groups = Some(vec!["coordination.k8s.io".to_owned()]);
            rule.resource_names = name.map(|name| vec![name.to_owned()]);
            rule
        };
        let create = leases(&["create"], None);
        let use_it = |name| leases(&["list", "watch", "update"], Some(name));
        assert!(rights(&[create.clone(), use_it("ferrolb-controller")]).elect);
        assert!(!rights(&[create, use_it("another")]).elect);
        assert!(!rights(&[use_it("ferrolb-controller")]).elect);
    }

    #[test]
    fn the_slice_of_the_api_server_alone_may_be_read_by_its_name() {
        let slices = |name: Option<&str>| {
            let mut rule = rule(&["list", "watch"], &["endpointslices"]);
            rule.api_groups = Some(vec!["discovery.k8s.io".to_owned()]);
            rule.resource_names = name.map(|name| vec![name.to_owned()]);
            rule
        };
        assert!(rights(&[slices(Some("kubernetes"))]).api_server);
        assert!(rights(&[slices(None)]).api_server);
        assert!(!rights(&[slices(Some("another"))]).api_server);
        assert!(!rights(&[slices(None)]).service_ranges);
    }

    #[test]
    fn objects_are_read_by_whoever_may_read_all_kinds() {
        let metallb = |verbs: &[&str], resources: &[&str]| {
            let mut rule = rule(verbs, resources);
            rule.api_groups = Some(vec!["metallb.io".to_owned()]);
            rule
        };
        let all = Kind::ALL.map(Kind::plural);
        assert!(rights(&[metallb(&["list", "watch"], &all)]).objects);
        assert!(!rights(&[metallb(&["list"], &all)]).objects);
        assert!(!rights(&[metallb(&["list", "watch"], &all[1..])]).objects);
        assert!(
            !rights(&[rule(&["list", "watch"], &all)]).objects,
            "of another group"
        );
        let status = metallb(
            &["patch"],
            &["ipaddresspools/status", "configurationstates/status"],
        );
        assert!(rights(std::slice::from_ref(&status)).pool_status);
        assert!(!rights(std::slice::from_ref(&status)).configuration_state);
        let create = metallb(&["create"], &["configurationstates"]);
        assert!(rights(&[status, create]).configuration_state);
        let compiled = |name: &str| {
            let mut rule = rule(&["list", "watch", "patch"], &["configmaps"]);
            rule.resource_names = Some(vec![name.to_owned()]);
            rights(&[rule]).compiled
        };
        assert!(compiled(COMPILED_NAME) && !compiled("config"));
    }

    #[test]
    fn pods_of_dead_nodes_are_marked_only_with_every_right_that_it_needs() {
        let mut slices = rule(&["list", "watch"], &["endpointslices"]);
        slices.api_groups = Some(vec!["discovery.k8s.io".to_owned()]);
        let mut votes = rule(&["list", "watch", "patch"], &["configmaps"]);
        votes.resource_names = Some(vec!["ferrolb-votes".to_owned()]);
        let all = [
            slices,
            votes,
            rule(&["list", "watch"], &["nodes", "namespaces"]),
            rule(&["patch"], &["pods/status"]),
        ];
        assert!(rights(&all).dead_nodes);
        for missing in 0..all.len() {
            let mut some = all.to_vec();
            some.remove(missing);
            assert!(!rights(&some).dead_nodes, "without {:?}", all[missing]);
        }
    }

    #[test]
    fn under_minikubes_manifests_it_is_said_what_is_switched_off() {
        let addon = [
            rule(&["get", "list", "watch", "update"], &["services"]),
            rule(&["update"], &["services/status"]),
            rule(&["create", "patch"], &["events"]),
        ];
        let limits = rights(&addon).limits();
        let words = [
            "nodes",
            "namespaces",
            "leases",
            "conflict",
            "objects",
            "servicecidrs",
        ];
        assert_eq!(limits.len(), words.len());
        for (limit, word) in limits.iter().zip(words) {
            assert!(limit.contains(word), "{limit}");
        }
    }
}
