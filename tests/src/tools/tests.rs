use super::*;

#[test]
fn the_version_of_kubernetes_is_read_from_go_mod() {
    let go_mod = fs::read_to_string(Module::Kubernetes.source().join("go.mod")).unwrap();
    let version = required_version(&go_mod, "k8s.io/kubernetes").unwrap();
    let flags = Module::Kubernetes.ldflags(&go_mod).unwrap();
    assert!(version.starts_with("v1."), "{version}");
    assert!(
        flags.contains(&format!("component-base/version.gitVersion={version} ")),
        "{flags}"
    );
    assert!(
        flags.contains("client-go/pkg/version.gitMajor=1 "),
        "{flags}"
    );
}

#[test]
fn a_required_version_is_found_in_a_block_and_on_a_line_of_its_own() {
    let go_mod = "require a.io/b v1.2.3\nrequire (\n\tc.io/d v0.4.0 // indirect\n)\n";
    assert_eq!(required_version(go_mod, "a.io/b").unwrap(), "v1.2.3");
    assert_eq!(required_version(go_mod, "c.io/d").unwrap(), "v0.4.0");
    assert!(required_version(go_mod, "e.io/f").is_err());
}

#[test]
fn complaints_are_told_from_packages() {
    assert!(is_package("k8s.io/kubernetes/pkg/proxy"));
    assert!(!is_package("# k8s.io/kubernetes/pkg/proxy"));
    assert!(!is_package("x.go:3:2: undefined: y"));
}
