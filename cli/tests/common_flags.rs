//! What all verbs have in common: options, exit status, and colours for terminals alone.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-ferrolb");
/// What a terminal's escape sequences begin with.
const ESCAPE: u8 = 0x1b;

/// The verbs that ask a cluster, with what each needs at least.
const OF_A_CLUSTER: [&[&str]; 19] = [
    &["status"],
    &["top"],
    &["dashboard"],
    &["pools"],
    &["services"],
    &["explain", "svc/web"],
    &["check"],
    &["init"],
    &["migrate"],
    &["plan", "drain", "n1"],
    &["plan", "node-down", "n1", "n2"],
    &["plan", "config", "-"],
    &["drain-wait", "n1"],
    &["move", "192.168.64.240", "n1"],
    &["adopt", "svc/web"],
    &["rebalance"],
    &["cleanup"],
    &["dump"],
    &["who", "192.168.64.240", "--node=n1"],
];
/// Those that need none.
const BY_THEMSELVES: [&[&str]; 4] = [
    &["validate", "config.yaml"],
    &["crds"],
    &["version"],
    &["completion", "bash"],
];

/// What asks for colours or against them, besides `TERM`; `CI` makes a dumb terminal a coloured one.
const WISHES: [&str; 4] = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"];

/// A command that inherits no wish for colours.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for wish in WISHES {
        command.env_remove(wish);
    }
    command
}

fn run(args: &[&str]) -> Output {
    command(PROGRAM).args(args).output().unwrap()
}

fn help(verb: &[&str]) -> String {
    // Of `plan drain n1` the first two.
    let words = if verb[0] == "plan" { 2 } else { 1 };
    let output = run(&[&verb[..words], &["--help"]].concat());
    assert!(output.status.success(), "{verb:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_verb_says_what_its_exit_status_means_and_takes_the_common_options() {
    let all = OF_A_CLUSTER.iter().chain(&BY_THEMSELVES);
    let mut seen: Vec<&str> = all.clone().map(|verb| verb[0]).collect();
    for verb in all {
        let help = help(verb);
        assert!(help.contains("Exit status: 0"), "{verb:?}: {help}");
        let formats = help.contains("-o, --output <FORMAT>");
        let has_formats = !["completion", "dashboard", "top"].contains(&verb[0]);
        assert_eq!(formats, has_formats, "{verb:?}: {help}");
        let is_of_a_cluster = OF_A_CLUSTER.contains(verb);
        for option in [
            "-n, --namespace <NAMESPACE>",
            "--context <CONTEXT>",
            "--kubeconfig <FILE>",
        ] {
            assert_eq!(
                help.contains(option),
                is_of_a_cluster,
                "{verb:?} {option}: {help}"
            );
        }
    }
    let overview = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let mut verbs: Vec<_> = overview
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    verbs.sort_unstable();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(verbs, seen, "a verb is in no test");
}

#[test]
fn a_cluster_that_cannot_be_had_is_one_line_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for verb in OF_A_CLUSTER {
        for format in ["text", "json"] {
            // They show what they see to people alone.
            let format: &[&str] = if ["dashboard", "top"].contains(&verb[0]) {
                &[]
            } else {
                &["-o", format]
            };
            let output = command(PROGRAM)
                .current_dir(&folder)
                .args(verb)
                .args(format)
                .args(["-n", "lb", "--kubeconfig"])
                .arg(&missing)
                .output()
                .unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{verb:?}: {errors}");
            assert_eq!(output.stdout, b"", "{verb:?}");
            assert_eq!(errors.lines().count(), 1, "{verb:?}: {errors}");
            assert!(
                errors.starts_with("error: cannot use --kubeconfig "),
                "{verb:?}: {errors}"
            );
        }
    }
    let left = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(left, 0, "no bundle of nothing");
}

/// A configuration with a problem, in a folder of its own.
fn broken() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = "address-pools:\n- {name: a, protocol: layer3, addresses: [10.0.0.7]}\n";
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    folder
}

/// What has colours: an answer, a complaint about usage, help.
const COLOURED: [&str; 3] = ["validate config.yaml", "validate", "validate --help"];

#[test]
fn colours_are_for_terminals_alone() {
    let folder = broken();
    let on_a_terminal = |args: &str, env: &[(&str, &str)]| {
        // From bsdutils, which every Debian has: runs a command on a terminal of its own.
        let output = command("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{PROGRAM} {args}"))
            .arg("/dev/null")
            .current_dir(&folder)
            .env("TERM", "xterm")
            .envs(env.iter().copied())
            .output()
            .unwrap();
        assert!(!output.stdout.is_empty(), "{args}");
        output.stdout
    };
    for args in COLOURED {
        let shown = on_a_terminal(args, &[]);
        let text = String::from_utf8_lossy(&shown);
        assert!(shown.contains(&ESCAPE), "{args}: {text}");
        for quiet in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let shown = on_a_terminal(args, &[quiet]);
            let text = String::from_utf8_lossy(&shown);
            assert!(!shown.contains(&ESCAPE), "{quiet:?} {args}: {text}");
        }
        let piped = command(PROGRAM)
            .args(args.split(' '))
            .current_dir(&folder)
            .env("TERM", "xterm")
            .output()
            .unwrap();
        let all = [piped.stdout, piped.stderr].concat();
        assert!(!all.is_empty() && !all.contains(&ESCAPE), "{args}");
    }
}

#[test]
fn what_needs_no_cluster_answers_programs_in_json_and_in_yaml() {
    let folder = broken();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata:\n  config: |\n    \
                    # Kept.\n    address-pools:\n    - {name: a, protocol: layer2, addresses: [10.0.0.7]}\n";
    std::fs::write(folder.path().join("metallb.yaml"), manifest).unwrap();
    for (args, key) in [
        (&["version"][..], "version"),
        (&["crds"], "items"),
        (&["validate", "config.yaml"], "configurations"),
        (&["migrate", "metallb.yaml", "-n", "lb"], "data"),
    ] {
        let answer = |format| {
            let output = command(PROGRAM)
                .current_dir(&folder)
                .args(args)
                .args(["-o", format])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let json: serde_json::Value = serde_json::from_str(&answer("json")).unwrap();
        let yaml: serde_json::Value = serde_yaml::from_str(&answer("yaml")).unwrap();
        assert!(!json[key].is_null(), "{json}");
        assert_eq!(json, yaml);
        if args[0] == "migrate" {
            assert_eq!(json["metadata"]["namespace"], "lb");
            let config = json["data"]["config"].as_str().unwrap();
            assert!(config.starts_with("# Kept.\n"), "{config}");
            let text: serde_json::Value = serde_yaml::from_str(&answer("text")).unwrap();
            assert_eq!(json, text, "the same for people");
        }
    }
}
