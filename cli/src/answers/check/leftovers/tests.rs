use serde_json::json;

use super::super::{Finding, Verdict};
use super::*;

fn webhook(policy: Option<&str>, group: &str) -> ValidatingWebhookConfiguration {
    serde_json::from_value(json!({
        "metadata": {"name": "metallb-webhook-configuration"},
        "webhooks": [{
            "name": "ipaddresspoolvalidationwebhook.metallb.io",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": policy,
            "rules": [{"apiGroups": [group], "resources": ["ipaddresspools"]}],
            "clientConfig": {"service": {"namespace": "metallb-system", "name": "metallb-webhook-service"}},
        }],
    }))
    .unwrap()
}

/// Ours, changed.
fn definition(
    plural: &str,
    change: impl FnOnce(&mut serde_json::Value),
) -> CustomResourceDefinition {
    let name = format!("{plural}.metallb.io");
    let ours = crate::crds::definitions();
    let found = ours
        .into_iter()
        .find(|one| one["metadata"]["name"] == *name);
    let mut found = found.unwrap();
    change(&mut found);
    serde_json::from_value(found).unwrap()
}

fn converting() -> CustomResourceDefinition {
    definition("bgppeers", |one| {
        one["spec"]["conversion"] = json!({
            "strategy": "Webhook",
            "webhook": {
                "conversionReviewVersions": ["v1beta1"],
                "clientConfig": {"service": {"namespace": "metallb-system", "name": "metallb-webhook-service"}},
            },
        });
    })
}

fn service(answers: bool) -> BTreeMap<(String, String), bool> {
    let service = (
        "metallb-system".to_owned(),
        "metallb-webhook-service".to_owned(),
    );
    [(service, answers)].into()
}

fn found(leftovers: &Leftovers) -> Vec<Finding> {
    judge(leftovers, "metallb-system")
}

#[test]
fn a_cluster_without_metallb_or_with_our_definitions_has_nothing_to_say() {
    assert_eq!(found(&Leftovers::default()), []);
    let ours = Leftovers {
        webhooks: Some(Vec::new()),
        definitions: Some(vec![
            definition("ipaddresspools", |_| {}),
            definition("bgppeers", |_| {}),
        ]),
        pools: vec![ObjectName {
            namespace: Some("metallb-system".to_owned()),
            name: "lan".to_owned(),
        }],
        ..Leftovers::default()
    };
    assert_eq!(found(&ours), []);
}

#[test]
fn a_webhook_that_nobody_answers_refuses_every_change_unless_it_ignores_failures() {
    for (policy, answers, verdict) in [
        (Some("Fail"), false, Some(Verdict::Problem)),
        // The default.
        (None, false, Some(Verdict::Problem)),
        (Some("Ignore"), false, Some(Verdict::Warning)),
        (Some("Fail"), true, None),
    ] {
        let leftovers = Leftovers {
            webhooks: Some(vec![webhook(policy, "metallb.io")]),
            answering: service(answers),
            ..Leftovers::default()
        };
        let found = found(&leftovers);
        let verdicts: Vec<_> = found.iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, Vec::from_iter(verdict), "{policy:?} {answers}");
        for finding in found {
            assert_eq!(
                finding.remedy.unwrap(),
                "kubectl delete validatingwebhookconfiguration metallb-webhook-configuration"
            );
        }
    }
    // What could not be asked is said elsewhere, and not called dead.
    let unknown = Leftovers {
        webhooks: Some(vec![webhook(None, "metallb.io")]),
        ..Leftovers::default()
    };
    assert_eq!(found(&unknown), []);
}

#[test]
fn webhooks_for_other_groups_are_no_concern() {
    assert_eq!(
        rules::asked_by_webhook(&webhook(None, "cilium.io")).count(),
        0
    );
    assert_eq!(
        rules::asked_by_webhook(&webhook(None, "metallb.io")).count(),
        1
    );
}

#[test]
fn a_conversion_by_a_service_that_is_gone_is_a_problem_with_the_command_that_mends_it() {
    let leftovers = |answers| Leftovers {
        definitions: Some(vec![converting()]),
        answering: service(answers),
        ..Leftovers::default()
    };
    assert_eq!(found(&leftovers(true)), []);
    let found = found(&leftovers(false));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].verdict, Verdict::Problem);
    assert_eq!(
        found[0].remedy.as_deref().unwrap(),
        "kubectl patch crd bgppeers.metallb.io --type=merge -p \
         '{\"spec\":{\"conversion\":{\"strategy\":\"None\",\"webhook\":null}}}'"
    );
}

#[test]
fn definitions_that_are_being_deleted_or_that_helm_would_delete_are_named() {
    let going = definition("communities", |one| {
        one["metadata"]["deletionTimestamp"] = json!("2026-11-30T00:00:00Z");
    });
    let of_helm = |plural| {
        definition(plural, |one| {
            let annotations = &mut one["metadata"]["annotations"];
            annotations["meta.helm.sh/release-name"] = json!("lb");
            annotations["meta.helm.sh/release-namespace"] = json!("metallb-system");
        })
    };
    let leftovers = Leftovers {
        definitions: Some(vec![going, of_helm("ipaddresspools"), of_helm("bgppeers")]),
        ..Leftovers::default()
    };
    let found = found(&leftovers);
    assert_eq!(found.len(), 2, "one for a release: {found:?}");
    assert_eq!(found[0].verdict, Verdict::Problem);
    assert!(
        found[0]
            .found
            .starts_with("communities.metallb.io is being deleted")
    );
    assert_eq!(found[1].verdict, Verdict::Warning);
    assert!(
        found[1].found.contains("Helm release metallb-system/lb"),
        "{found:?}"
    );
}

#[test]
fn fields_that_an_older_definition_drops_are_named_once_without_what_is_below_them() {
    let older = definition("l2advertisements", |one| {
        let spec =
            &mut one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let fields = spec["properties"].as_object_mut().unwrap();
        fields.remove("serviceSelectors");
        fields.remove("preferredNodeSelectors");
    });
    // A definition that keeps whatever it gets drops nothing.
    let anything = definition("communities", |one| {
        one["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    });
    let leftovers = Leftovers {
        definitions: Some(vec![older, anything]),
        ..Leftovers::default()
    };
    let found = found(&leftovers);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0].found,
        "l2advertisements.metallb.io in this cluster does not know spec.preferredNodeSelectors, \
         spec.serviceSelectors: the API server drops it from objects"
    );
}

#[test]
fn pools_of_other_namespaces_are_named_and_many_are_counted() {
    let pool = |index| ObjectName {
        namespace: Some("default".to_owned()),
        name: format!("p{index}"),
    };
    let leftovers = Leftovers {
        pools: (0..7).map(pool).collect(),
        ..Leftovers::default()
    };
    let found = found(&leftovers);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].found.contains("default/p4 and 2 more:"),
        "{found:?}"
    );
    assert_eq!(found[0].verdict, Verdict::Warning);
}
