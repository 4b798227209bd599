use std::collections::BTreeSet;

use anyhow::ensure;

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

#[test]
fn what_fails_twice_is_tried_a_third_time_and_no_more() {
    for (failures, tries) in [(0, 1), (1, 2), (2, 3), (3, 3)] {
        let mut tried = 0;
        let work = || {
            tried += 1;
            ensure!(tried > failures, "the server is ill");
            Ok(())
        };
        assert_eq!(insist(work, || {}).is_ok(), failures < 3, "{failures}");
        assert_eq!(tried, tries, "{failures}");
    }
}

#[test]
fn a_module_that_nobody_asks_for_any_more_goes_when_another_version_is_built() {
    let cache = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let built = |name: &str, days: u64| {
        let bin = cache.path().join(name).join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(cache.path().join(format!("{name}.lock")), "").unwrap();
        let folder = File::open(cache.path().join(name)).unwrap();
        let age = Duration::from_secs(days * 24 * 60 * 60);
        folder.set_modified(now - age).unwrap();
        bin
    };
    built("kubernetes-00000000000000aa", 15);
    for (name, days) in [
        ("kubernetes-00000000000000bb", 13),
        ("kubernetes-1.31-00000000000000aa", 15),
        ("kubernetes-00000000000000a", 15),
        ("kubernetes-00000000000000dd.building", 15),
        ("kubernetes-mine", 15),
        ("coredns-00000000000000aa", 15),
    ] {
        built(name, days);
    }
    let sleep = built("kubernetes-00000000000000cc", 15).join("sleep");
    fs::copy("/bin/sleep", &sleep).unwrap();
    let mut running = Command::new(sleep).arg("60").spawn().unwrap();
    let left = || {
        let names = fs::read_dir(cache.path()).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    let mut expected = left();
    remove_outdated(Module::Kubernetes, cache.path(), now);
    running.kill().unwrap();
    running.wait().unwrap();
    for gone in ["", ".lock"] {
        expected.remove(&format!("kubernetes-00000000000000aa{gone}"));
    }
    assert_eq!(left(), expected);
}
