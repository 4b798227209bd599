use std::collections::BTreeSet;

use super::*;

#[test]
fn each_folder_with_tools_is_a_module() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let folders: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("go.mod").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let modules = Module::all();
    let names: BTreeSet<_> = modules.iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names, folders, "the modules; the folders in tests/tools");
    assert_eq!(names.len(), modules.len(), "one is there twice");
}

#[test]
fn each_version_of_kubernetes_has_a_go_module_that_requires_it_and_its_programs_say_so() {
    for version in Version::value_variants() {
        let module = version.modules()[0];
        let go_mod = fs::read_to_string(module.source().join("go.mod")).unwrap();
        let required = required_version(&go_mod, "k8s.io/kubernetes").unwrap();
        assert!(required.starts_with(&format!("v{version}.")), "{required}");
        let flags = module.ldflags(&go_mod).unwrap();
        let said = format!("component-base/version.gitVersion={required} ");
        assert!(flags.contains(&said), "{flags}");
        let minor = version
            .to_string()
            .replace("1.", "client-go/pkg/version.gitMinor=");
        assert!(flags.contains(&minor), "{flags}");
    }
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
