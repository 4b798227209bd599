use super::*;
use crate::alloc::tests::{dual, service};

/// What a Service asks for by the field and by the annotation.
fn both(field: &str, annotation: &str, view: ServiceView) -> Result<Vec<String>, String> {
    let request = |source: &str, text: &str| AddressRequest {
        source: source.to_owned(),
        text: text.to_owned(),
    };
    let view = ServiceView {
        address_requests: [
            request("spec.loadBalancerIP", field),
            request("metallb.universe.tf/loadBalancerIPs", annotation),
        ]
        .into(),
        ..view
    };
    let request = Request::of(&view).map_err(|refusal| refusal.text)?;
    Ok(request
        .addresses
        .values()
        .map(ToString::to_string)
        .collect())
}

#[test]
fn field_and_annotation_may_ask_for_the_same_in_whatever_spelling() {
    let both_families = || dual("a", FamilyPolicy::RequireDualStack);
    for (field, annotation) in [
        ("10.0.0.1", "10.0.0.1"),
        (" 10.0.0.1 ", "10.0.0.1,"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("10.0.0.1", " , "),
    ] {
        let asked = both(field, annotation, service("a"));
        assert_eq!(
            asked.as_deref(),
            Ok(["10.0.0.1".to_owned()].as_slice()),
            "{annotation:?}"
        );
    }
    let asked = both("fd00::1, 10.0.0.1", "10.0.0.1,FD00:0::1", both_families());
    assert_eq!(asked.unwrap(), ["10.0.0.1", "fd00::1"]);
    for (field, annotation, view) in [
        ("10.0.0.1", "10.0.0.2", service("a")),
        ("10.0.0.1", "10.0.0.1,fd00::1", both_families()),
        ("10.0.0.1", "fd00::1", both_families()),
    ] {
        let text = both(field, annotation, view).unwrap_err();
        assert!(text.ends_with("let both ask for the same"), "{text}");
        assert!(
            text.starts_with("spec.loadBalancerIP asks for 10.0.0.1 and"),
            "{text}"
        );
    }
}

#[test]
fn nothing_between_two_commas_asks_for_nothing() {
    for text in ["10.0.0.1,", ",10.0.0.1", "10.0.0.1, ,", ",,\t10.0.0.1,,"] {
        let asked = both(text, "", service("a"));
        assert_eq!(
            asked.as_deref(),
            Ok(["10.0.0.1".to_owned()].as_slice()),
            "{text:?}"
        );
    }
    assert_eq!(both(",", "", service("a")), Ok(vec![]));
    // Words are still no addresses.
    let text = both("10.0.0.1,x,", "", service("a")).unwrap_err();
    assert!(text.contains("\"x\", which is not an IP address"), "{text}");
}
