//! What this ServiceAccount may do, asked once instead of found out by refusals.

use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::writer::Method;

/// The rights that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// `patch` on `services/status`.
    pub patch_status: bool,
    /// `update` on `services/status`.
    pub update_status: bool,
    /// `create` on core v1 `events`.
    pub create_events: bool,
}

impl Rights {
    /// Asks the API server, for `namespace`.
    ///
    /// # Errors
    /// The API server's.
    pub async fn read(client: &Client, namespace: &str) -> kube::Result<Self> {
        let spec = SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        };
        let review = SelfSubjectRulesReview {
            spec,
            ..SelfSubjectRulesReview::default()
        };
        let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
        let review = api.create(&PostParams::default(), &review).await?;
        Ok(Self::of(
            &review
                .status
                .map(|status| status.resource_rules)
                .unwrap_or_default(),
        ))
    }

    fn of(rules: &[ResourceRule]) -> Self {
        let may =
            |verb: &str, resource: &str| rules.iter().any(|rule| allows(rule, verb, resource));
        Self {
            patch_status: may("patch", "services/status"),
            update_status: may("update", "services/status"),
            create_events: may("create", "events"),
        }
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

fn allows(rule: &ResourceRule, verb: &str, resource: &str) -> bool {
    let has = |list: &[String], item: &str| list.iter().any(|one| one == "*" || one == item);
    let list =
        |list: &Option<Vec<String>>, item: &str| has(list.as_deref().unwrap_or_default(), item);
    // A rule for named objects is not for all of them.
    let unnamed = rule
        .resource_names
        .as_deref()
        .unwrap_or_default()
        .is_empty();
    unnamed
        && has(&rule.verbs, verb)
        && list(&rule.api_groups, "")
        && (list(&rule.resources, resource)
            || resource
                .split_once('/')
                .is_some_and(|(_, sub)| list(&rule.resources, &format!("*/{sub}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(Rights::of(&old).method(), Method::Replace);
        assert!(Rights::of(&old).create_events);
        let new = [rule(&["update", "patch"], &["services/status"])];
        assert_eq!(Rights::of(&new).method(), Method::Patch);
        assert!(!Rights::of(&new).create_events);
    }

    #[test]
    fn wildcards_count_and_rules_for_named_objects_do_not() {
        let all = [rule(&["*"], &["*"])];
        assert_eq!(Rights::of(&all).method(), Method::Patch);
        let every_status = [rule(&["patch"], &["*/status"])];
        assert_eq!(Rights::of(&every_status).method(), Method::Patch);
        let mut named = rule(&["patch"], &["services/status"]);
        named.resource_names = Some(vec!["web".to_owned()]);
        assert_eq!(Rights::of(&[named]).method(), Method::Replace);
    }
}
