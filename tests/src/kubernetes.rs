//! The version of Kubernetes that a lab runs.

use std::fmt;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::tools::Module;

/// The version in labs that say nothing else: `make test KUBERNETES=1.31` sets it.
pub const CHOICE: &str = "FERROLB_KUBERNETES";

/// A version of which `tests/tools` has a Go module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Version {
    #[value(name = "1.31")]
    V1_31,
    #[value(name = "1.33")]
    V1_33,
    /// The one that all tests run on.
    #[default]
    #[value(name = "1.34")]
    V1_34,
    #[value(name = "1.35")]
    V1_35,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_31 => "1.31",
            Self::V1_33 => "1.33",
            Self::V1_34 => "1.34",
            Self::V1_35 => "1.35",
        })
    }
}

impl Version {
    /// What [`CHOICE`] says.
    pub fn chosen() -> Result<Self> {
        Self::of(&std::env::var(CHOICE).unwrap_or_default())
    }

    fn of(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::from_str(text, false).or_else(|_| {
            let all: Vec<_> = Self::value_variants().iter().map(Self::to_string).collect();
            bail!(
                "{CHOICE}={text}: labs run Kubernetes {}; a version is a folder in tests/tools",
                all.join(", ")
            )
        })
    }

    /// What it is built from. A program is taken from the first one that has it: etcd and Helm always are
    /// those of the default version.
    pub fn modules(self) -> Vec<Module> {
        match self {
            Self::V1_34 => vec![Module::Kubernetes],
            other => vec![Module::Components(other), Module::Kubernetes],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_there_is_not_is_refused_with_those_that_there_are() {
        assert_eq!(Version::of("").unwrap(), Version::V1_34);
        for version in Version::value_variants() {
            assert_eq!(Version::of(&version.to_string()).unwrap(), *version);
        }
        for bad in ["1.32", "1.36", "1", "31", "v1.31", "1.31.14", "latest"] {
            let error = Version::of(bad).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "FERROLB_KUBERNETES={bad}: labs run Kubernetes 1.31, 1.33, 1.34, 1.35; a version is a \
                     folder in tests/tools"
                )
            );
        }
    }

    /// What `make test` would do, and its complaint. The tests themselves may run under `make`, which is
    /// nothing to this one.
    fn make_test(choice: &str) -> (String, String) {
        let mut make = std::process::Command::new("make");
        make.args(["--dry-run", "test", choice])
            .current_dir(crate::workspace());
        for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
            make.env_remove(variable);
        }
        let output = make.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }

    #[test]
    fn make_refuses_the_same_versions_before_it_builds_anything_and_runs_four_tests_with_others() {
        for version in Version::value_variants() {
            let (does, _) = make_test(&format!("KUBERNETES={version}"));
            let test = does
                .lines()
                .find(|line| line.contains("FERROLB_KUBERNETES"));
            let test = test.unwrap_or_else(|| panic!("{does}"));
            assert!(
                test.starts_with(&format!("FERROLB_KUBERNETES={version} cargo test ")),
                "{test}"
            );
            for name in ["walk", "failover", "install", "addon"] {
                assert!(test.contains(&format!(" --test {name} ")), "{test}");
            }
        }
        for bad in ["1.32", "1.36", "v1.31", "latest"] {
            let (does, error) = make_test(&format!("KUBERNETES={bad}"));
            assert_eq!(does, "");
            let expected = format!("KUBERNETES={bad}: labs run Kubernetes 1.31 1.33 1.34 1.35;");
            assert!(error.contains(&expected), "{error}");
        }
        let (does, _) = make_test("KUBERNETES=");
        let test = does.lines().find(|line| line.contains("cargo test"));
        assert!(
            !test.unwrap().contains("KUBERNETES") && !test.unwrap().contains("--test "),
            "{does}"
        );
    }

    #[test]
    fn a_lab_of_another_version_takes_its_programs_first() {
        assert_eq!(Version::V1_34.modules(), [Module::Kubernetes]);
        let both = [Module::Components(Version::V1_31), Module::Kubernetes];
        assert_eq!(Version::V1_31.modules(), both);
    }
}
