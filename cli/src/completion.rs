//! `kubectl ferrolb completion`.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, ValueEnum};
use clap_complete::aot::{Shell, generate};

use crate::args::Args;

/// Print a script that completes this plugin's commands on TAB.
///
/// Exit status: 0.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completion {
    /// For kubectl, or for a shell in which you call the program as kubectl-ferrolb.
    #[arg(value_enum)]
    completer: Completer,
}

const EXAMPLES: &str = "\
Examples:
  # kubectl ferrolb <TAB>, in every shell that completes kubectl itself (needs bash)
  kubectl ferrolb completion kubectl > kubectl_complete-ferrolb
  sudo install kubectl_complete-ferrolb /usr/local/bin/

  # kubectl-ferrolb <TAB>, in this bash
  source <(kubectl ferrolb completion bash)";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Completer {
    /// The program that kubectl asks.
    Kubectl,
    Bash,
    Zsh,
    Fish,
}

/// The program's file name.
const PROGRAM: &str = "kubectl-ferrolb";
/// The name that bash's script is made for, and then registered for [`PROGRAM`]: in the script for a
/// name with `-` no verb finds its own options.
const FUNCTION: &str = "kubectl_ferrolb";
/// kubectl runs `kubectl_complete-ferrolb` with the words after `ferrolb`, the last one being incomplete,
/// and reads one candidate from each line, then `:` and a number: 0 lets the shell complete file
/// names where there is no candidate.
const FOR_KUBECTL: &str = r#"#!/usr/bin/env bash
# Completes `kubectl ferrolb`: kubectl finds this file on the PATH as kubectl_complete-ferrolb.
source <(kubectl-ferrolb completion bash)
COMP_WORDS=(kubectl-ferrolb "$@")
COMP_CWORD=$#
_kubectl_ferrolb kubectl-ferrolb "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - \
     1]}" 2>/dev/null
[ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}"
echo :0
"#;

impl Completion {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let script = match self.completer {
            Completer::Kubectl => FOR_KUBECTL.to_owned(),
            Completer::Bash => {
                let registered = |name| format!(" -o default {name}\n");
                script(Shell::Bash, FUNCTION)?.replace(&registered(FUNCTION), &registered(PROGRAM))
            }
            Completer::Zsh => script(Shell::Zsh, PROGRAM)?,
            Completer::Fish => script(Shell::Fish, PROGRAM)?,
        };
        out.write_all(script.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Not straight to the output: a reader that has read enough would make the generators panic.
fn script(shell: Shell, name: &str) -> anyhow::Result<String> {
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), name, &mut script);
    Ok(String::from_utf8(script)?)
}
