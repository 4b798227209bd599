//! `kubectl ferrolb completion`: its scripts, run by bash as kubectl and users have them run.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-ferrolb");

fn script(completer: &str) -> String {
    let output = Command::new(PROGRAM)
        .args(["completion", completer])
        .output()
        .unwrap();
    assert!(output.status.success(), "{completer}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash prints for `code` with `words`, the plugin being on the PATH.
fn bash(code: &str, words: &[&str]) -> String {
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-c", code, "kubectl_complete-ferrolb"])
        .args(words)
        .env("PATH", format!("{programs}:{path}"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kubectl_is_told_the_candidates_for_the_last_word() {
    let program = script("kubectl");
    for (words, want) in [
        (&["mo"][..], "move\n:0\n"),
        (&["move", "192.168.64.240", "--cl"], "--clear\n:0\n"),
        (&["explain", "-o", ""], "text\njson\nyaml\n:0\n"),
        (&["completion", "z"], "zsh\n:0\n"),
        (&["nonsense"], ":0\n"),
    ] {
        assert_eq!(bash(&program, words), want, "{words:?}");
    }
}

#[test]
fn bash_completes_the_program_by_its_own_name() {
    let ask = format!("{}complete -p kubectl-ferrolb", script("bash"));
    assert!(bash(&ask, &[]).contains(" _kubectl_ferrolb kubectl-ferrolb"));
}

#[test]
fn scripts_of_the_other_shells_are_for_the_program_and_know_the_verbs() {
    for (shell, head) in [
        ("zsh", "#compdef kubectl-ferrolb\n"),
        ("fish", "complete -c kubectl-ferrolb "),
    ] {
        let script = script(shell);
        assert!(script.contains(head), "{shell}");
        assert!(script.contains("explain"), "{shell}");
    }
}
