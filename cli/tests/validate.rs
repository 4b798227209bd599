//! `kubectl ferrolb validate` as a user runs it: the real binary, its output and its exit status.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const UNCONFIGURED: &str =
    include_str!("../../core/src/config/fixtures/minikube-unconfigured-manifest.yaml");
const EVERYTHING: &str = include_str!("../../core/src/config/fixtures/everything.yaml");

const MANIFEST: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metallb-system
  name: config
data:
  config: |
    address-pools:
    - name: default
      protocol: layer2
      addresses:
      - 192.168.64.10-192.168.64.20
      - fd00:64::/120
";

fn plugin() -> Command {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_kubectl-ferrolb"));
    plugin.env_remove("CLICOLOR_FORCE");
    plugin
}

/// What a terminal shows, with the exit status.
fn shown(output: &Output) -> String {
    let mut shown = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    if !errors.is_empty() {
        write!(shown, "--- standard error\n{errors}").unwrap();
    }
    write!(shown, "--- exit status {}", output.status.code().unwrap()).unwrap();
    shown
}

/// Runs it in a directory where `config.yaml` has this content.
fn validate(content: impl AsRef<[u8]>, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.yaml"), content).unwrap();
    shown(
        &plugin()
            .current_dir(&directory)
            .args(arguments)
            .output()
            .unwrap(),
    )
}

fn validate_stdin(content: &str) -> String {
    let mut child = plugin()
        .args(["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(content.as_bytes())
        .unwrap();
    shown(&child.wait_with_output().unwrap())
}

const FILE: &[&str] = &["validate", "config.yaml"];
const JSON: &[&str] = &["validate", "-o", "json", "config.yaml"];

#[test]
fn a_valid_manifest_shows_its_pools() {
    insta::assert_snapshot!(validate(MANIFEST, FILE));
}

#[test]
fn a_valid_manifest_as_json() {
    insta::assert_snapshot!(validate(MANIFEST, JSON));
}

#[test]
fn a_bgp_pool_is_said_not_to_be_announced() {
    insta::assert_snapshot!(validate(EVERYTHING, FILE));
}

#[test]
fn problems_point_at_the_lines_of_the_file() {
    let text = MANIFEST
        .replace(".10-192", ".30-192")
        .replace("layer2", "layer3");
    insta::assert_snapshot!(validate(text, FILE));
}

#[test]
fn problems_as_json_and_yaml() {
    let text = MANIFEST.replace("addresses", "adresses");
    insta::assert_snapshot!(validate(&text, JSON));
    insta::assert_snapshot!(validate(&text, &["validate", "-o", "yaml", "config.yaml"]));
}

#[test]
fn addresses_that_no_host_can_have_are_a_problem_and_the_rest_is_shown() {
    let text = MANIFEST.replace(
        "fd00:64::/120",
        "127.0.0.2-127.0.0.10\n      - 223.255.255.0-224.0.0.5",
    );
    insta::assert_snapshot!(validate(&text, FILE));
    insta::assert_snapshot!(validate(&text, JSON));
}

#[test]
fn a_value_in_quotes_is_shown_by_itself() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata:\n  config: \"address-pools:\\n- name: a\\n  protocol: bgp\\n\"\n";
    insta::assert_snapshot!(validate(text, FILE));
}

#[test]
fn each_configuration_of_a_file_is_checked() {
    let second = MANIFEST
        .replace("name: config", "name: other")
        .replace("fd00:64::/120", "fnord");
    insta::assert_snapshot!(validate(format!("{MANIFEST}---\n{second}"), FILE));
}

#[test]
fn minikubes_blank_template_is_no_configuration_yet() {
    insta::assert_snapshot!(validate(UNCONFIGURED, FILE));
    insta::assert_snapshot!(validate(UNCONFIGURED, JSON));
}

#[test]
fn an_empty_configuration_is_valid() {
    insta::assert_snapshot!(validate("", FILE));
}

#[test]
fn standard_input_is_read_too() {
    insta::assert_snapshot!(validate_stdin(
        "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.7]}\n"
    ));
}

#[test]
fn what_cannot_be_read_is_no_answer() {
    let missing = validate("", &["validate", "missing.yaml"]);
    assert!(
        missing.starts_with("--- standard error\nerror: cannot read missing.yaml: "),
        "{missing}"
    );
    assert!(missing.ends_with("--- exit status 2"), "{missing}");
    insta::assert_snapshot!(validate(b"address-pools: \xff", FILE));
    insta::assert_snapshot!(validate(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
        FILE
    ));
}

#[test]
fn wrong_usage_is_explained() {
    insta::assert_snapshot!(validate("", &["validate"]));
    insta::assert_snapshot!(validate("", &["valdate", "config.yaml"]));
    insta::assert_snapshot!(validate("", &["validate", "-o", "xml", "config.yaml"]));
}

#[test]
fn help_shows_examples() {
    insta::assert_snapshot!(validate("", &["--help"]));
    insta::assert_snapshot!(validate("", &["validate", "--help"]));
}

#[test]
fn the_version_is_that_of_the_package() {
    let want = format!(
        "kubectl-ferrolb {}\n--- exit status 0",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(validate("", &["version"]), want);
    assert_eq!(validate("", &["--version"]), want);
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let mut child = plugin()
        .args(["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child
        .stdin
        .take()
        .unwrap()
        .write_all(MANIFEST.as_bytes())
        .unwrap();
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert_eq!(errors, "");
}

#[test]
fn every_example_is_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut folders = vec![examples];
    let mut checked = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_yaml = path
                .extension()
                .is_some_and(|extension| extension == "yaml");
            if path.is_dir() {
                folders.push(path);
            } else if is_yaml
                && fs::read_to_string(&path)
                    .unwrap()
                    .contains("kind: ConfigMap")
            {
                let output = plugin().arg("validate").arg(&path).output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "no example has a ConfigMap");
}

#[test]
fn what_is_valid_and_probably_not_meant_is_said_and_is_no_failure() {
    let text = MANIFEST
        .replace("name: config", "name: pools")
        .replace("namespace: metallb-system", "namespace: lb")
        .replace("192.168.64.10-192.168.64.20", "192.168.64.200/28");
    insta::assert_snapshot!(validate(&text, FILE));
    insta::assert_snapshot!(validate(&text, JSON));
    let nowhere = MANIFEST.replace("  namespace: metallb-system\n", "");
    let shown = validate(nowhere, FILE);
    assert!(
        shown.contains("has no namespace") && shown.ends_with("exit status 0"),
        "{shown}"
    );
}

#[test]
fn files_that_are_something_else_lead_to_what_helps() {
    let utf16: Vec<u8> = std::iter::once('\u{feff}')
        .chain(MANIFEST.chars())
        .flat_map(|c| u32::from(c).to_le_bytes().into_iter().take(2))
        .collect();
    let objects = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n";
    let key = MANIFEST.replace("  config: |", "  config.yaml: |");
    let hidden = MANIFEST.replace("192.168.64.10-", "192.168.\u{200b}64.10-");
    let values = "replicas: 1\nconfigInline:\n  address-pools:\n  - {name: a, protocol: layer2, addresses: [10.0.0.1]}\n";
    let shown = [
        validate(utf16, FILE),
        validate(objects, FILE),
        validate(key, FILE),
        validate(hidden, FILE),
        validate(values, FILE),
    ];
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn strict_takes_warnings_and_configurations_without_addresses_for_problems() {
    let strict: &[&str] = &["validate", "--strict", "config.yaml"];
    let status = |content: &str, arguments| {
        let shown = validate(content, arguments);
        shown.lines().last().unwrap().to_owned()
    };
    let pools = |entry: &str| format!("address-pools:\n- {{name: a, {entry}}}\n");
    let host_bits = pools("protocol: layer2, addresses: [192.168.64.20/28]");
    let bgp = pools("protocol: bgp, addresses: [192.168.64.16/28]");
    for (content, plain) in [
        (host_bits.as_str(), "--- exit status 0"),
        (&bgp, "--- exit status 0"),
        ("", "--- exit status 0"),
        (UNCONFIGURED, "--- exit status 1"),
    ] {
        assert_eq!(status(content, FILE), plain, "{content}");
        assert_eq!(status(content, strict), "--- exit status 1", "{content}");
    }
    assert_eq!(status(MANIFEST, strict), "--- exit status 0");
}

#[test]
fn several_files_are_checked_and_those_of_other_programs_passed_over_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let broken = MANIFEST.replace("layer2", "layer3");
    for (name, content) in [
        ("good.yaml", MANIFEST),
        ("broken.yaml", &broken),
        ("values.yaml", "replicas: 3\nimage: {tag: x}\n"),
        (
            "service.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
        ),
        (
            "template.yaml",
            "apiVersion: v1\nkind: Service\n{{- if .Values.a }}\n",
        ),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut plugin = plugin();
        plugin.current_dir(&folder).arg("validate").args(arguments);
        let output = plugin.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    let others = ["values.yaml", "service.yaml", "template.yaml"];
    let (code, text) = run(&[&["--strict", "--if-any", "good.yaml"], &others[..]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with("good.yaml: ConfigMap metallb-system/config: valid"),
        "{text}"
    );
    let (code, text) = run(&[&["--if-any", "good.yaml", "broken.yaml"], &others[..]].concat());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("good.yaml: ConfigMap"), "{text}");
    assert!(text.contains("broken.yaml"), "{text}");
    for other in others {
        assert_eq!(run(&["--if-any", other]).0, 0, "{other}");
        assert_ne!(run(&[other]).0, 0, "{other}");
    }
    let (_, json) = run(&["-o", "json", "good.yaml", "broken.yaml"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["valid"], false);
    let files: Vec<_> = json["files"].as_array().unwrap().iter().collect();
    let valid: Vec<_> = files
        .iter()
        .map(|one| (&one["file"], &one["valid"]))
        .collect();
    assert_eq!(
        valid,
        [
            (&"good.yaml".into(), &true.into()),
            (&"broken.yaml".into(), &false.into())
        ]
    );
}

/// As MetalLB's users have them: of one namespace, and one of them wrong.
const OBJECTS: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: lb}
spec:
  addresses:
  - 192.168.64.10-192.168.64.20
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: reversed, namespace: lb}
spec:
  addresses:
  - 192.168.65.20-192.168.65.10
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: lb}
spec:
  ipAddressPools: [lan]
";

#[test]
fn objects_are_checked_each_for_itself_and_the_rest_would_take_effect() {
    insta::assert_snapshot!(validate(OBJECTS, FILE));
    insta::assert_snapshot!(validate(OBJECTS, JSON));
    let good = OBJECTS.replace("192.168.65.20-192", "192.168.65.1-192");
    let good = good.replace("[lan]", "[lan, reversed]");
    assert!(validate(&good, FILE).ends_with("--- exit status 0"));
    let strict: &[&str] = &["validate", "--strict", "config.yaml"];
    assert!(
        validate(&good, strict).ends_with("--- exit status 0"),
        "{}",
        validate(&good, strict)
    );
    // A reference to nothing may be applied later, and is no failure.
    let gone = good.replace("[lan, reversed]", "[lan, gone, reversed]");
    assert!(validate(&gone, FILE).ends_with("--- exit status 0"));
    assert!(validate(&gone, strict).ends_with("--- exit status 1"));
}

/// A file for each, as they usually lie in Git.
const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: lb}
spec:
  addresses:
  - 192.168.64.10-192.168.64.20
";
const L2: &str = "\
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: lb}
spec:
  ipAddressPools: [lan]
";

/// Runs it in a folder with these files.
fn validate_files(files: &[(&str, &str)], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut plugin = plugin();
    let plugin = plugin.current_dir(&folder).arg("validate").args(arguments);
    shown(&plugin.output().unwrap())
}

#[test]
fn objects_of_several_files_are_judged_together() {
    let files = [("pool.yaml", POOL), ("l2.yaml", L2)];
    for order in [["pool.yaml", "l2.yaml"], ["l2.yaml", "pool.yaml"]] {
        let shown = validate_files(&files, &[&["--strict"], &order[..]].concat());
        assert!(shown.ends_with("--- exit status 0"), "{shown}");
        assert!(shown.contains("pool.yaml: valid objects"), "{shown}");
        assert!(shown.contains("l2.yaml: valid objects"), "{shown}");
    }
    // Each alone says less than both.
    for file in ["pool.yaml", "l2.yaml"] {
        let shown = validate_files(&files, &["--strict", file]);
        assert!(shown.ends_with("--- exit status 1"), "{shown}");
    }
    // One without a namespace is applied to that of the others.
    let nowhere = L2.replace(", namespace: lb", "");
    let shown = validate_files(
        &[("pool.yaml", POOL), ("l2.yaml", &nowhere)],
        &["--strict", "pool.yaml", "l2.yaml"],
    );
    assert!(shown.ends_with("--- exit status 0"), "{shown}");
    // Those of two namespaces have nothing to do with each other.
    let other = L2.replace("namespace: lb", "namespace: other");
    let shown = validate_files(
        &[("pool.yaml", POOL), ("l2.yaml", &other)],
        &["--strict", "pool.yaml", "l2.yaml"],
    );
    assert!(shown.ends_with("--- exit status 1"), "{shown}");
}

#[test]
fn what_is_wrong_between_two_files_is_said_with_both() {
    let other = POOL
        .replace("name: lan", "name: dmz")
        .replace(".10-", ".15-");
    let l2 = L2.replace("[lan]", "[lan, dmz, gone]");
    let files = [
        ("lan.yaml", POOL),
        ("dmz.yaml", &other),
        ("l2.yaml", &l2),
        ("again.yaml", POOL),
    ];
    let overlap = ["lan.yaml", "dmz.yaml", "l2.yaml"];
    insta::assert_snapshot!(validate_files(&files, &overlap));
    insta::assert_snapshot!(validate_files(
        &files,
        &[&["-o", "json"], &overlap[..]].concat()
    ));
    let twice = validate_files(&files, &["lan.yaml", "again.yaml"]);
    assert!(
        twice.contains("the same object is already there on line 3 of lan.yaml"),
        "{twice}"
    );
    assert!(twice.ends_with("--- exit status 0"), "{twice}");
}

#[test]
fn a_folder_stands_for_the_yaml_files_below_it_that_have_a_configuration() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    let files = [
        ("home/pools/lan.yaml", POOL),
        ("home/l2.yml", L2),
        ("home/service.yaml", service),
        ("home/notes.txt", "address-pools: nonsense"),
        ("home/.git/old.yaml", "address-pools: nonsense"),
        ("none/service.yaml", service),
    ];
    let shown = validate_files(&files, &["--strict", "home"]);
    assert!(shown.ends_with("--- exit status 0"), "{shown}");
    let named = shown.lines().filter(|line| line.contains(": valid"));
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            "home/l2.yml: valid objects",
            "home/pools/lan.yaml: valid objects"
        ]
    );
    let json = validate_files(&files, &["-o", "json", "home/pools"]);
    assert!(json.contains("\"files\": ["), "{json}");
    let none = validate_files(&files, &["none"]);
    assert!(
        none.contains("error: none: no file in it has a configuration"),
        "{none}"
    );
    assert!(none.ends_with("--- exit status 2"), "{none}");
    let passed_over = validate_files(&files, &["--if-any", "none"]);
    assert!(passed_over.ends_with("--- exit status 0"), "{passed_over}");
}

/// The hook runs what this program understands, on all files and not only on those that have changed.
#[test]
fn the_hook_for_pre_commit_is_a_command_of_this_program() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.pre-commit-hooks.yaml");
    let hooks: serde_yaml::Value =
        serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let hook = &hooks[0];
    assert_eq!(hook["pass_filenames"].as_bool(), Some(false));
    let args = hook["args"].as_sequence().unwrap();
    let args = args.iter().map(|arg| arg.as_str().unwrap());
    let entry = hook["entry"].as_str().unwrap();
    // Of the words the first is the program, and the second what `validate_files` has.
    let arguments: Vec<_> = entry.split(' ').skip(2).chain(args).collect();
    let status = |files: &[(&str, &str)]| {
        let shown = validate_files(files, &arguments);
        shown.lines().last().unwrap().to_owned()
    };
    assert_eq!(entry.split(' ').nth(1), Some("validate"));
    for (content, expected) in [(MANIFEST, 0), ("a: b\n", 0), (UNCONFIGURED, 1)] {
        let expected = format!("--- exit status {expected}");
        assert_eq!(status(&[("config.yaml", content)]), expected);
    }
    let both = [("a/pool.yaml", POOL), ("b/l2.yaml", L2)];
    assert_eq!(status(&both), "--- exit status 0");
    assert_eq!(status(&both[..1]), "--- exit status 1");
}
