//! `kubectl ferrolb migrate`.

mod convert;
mod files;
mod live;
mod metallb;
mod ours;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::config::{self, Outcome, Problems};
use ferrolb_core::names::{DEFAULT_CONFIG_NAME, DEFAULT_NAMESPACE};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::files::Files;
use self::metallb::Found;
use crate::cluster::{Access, HEADING};
use crate::output::{Format, page};
use crate::terminal::{self, BAD, WARNING, trusted};

/// What was read makes no configuration that would take effect.
const PROBLEMS: u8 = 1;

/// Convert MetalLB's configuration to FerroLB's.
///
/// Reads the ConfigMap of MetalLB 0.9 to 0.12, or the objects of 0.13 and later (IPAddressPool,
/// L2Advertisement, BGPAdvertisement, BGPPeer, BFDProfile, Community), and prints FerroLB's
/// ConfigMap. What cannot be converted is listed on standard error. Without files it reads what is in force
/// in the cluster, and changes nothing there.
///
/// Exit status: 0 if the ConfigMap would take effect, 1 if not, 2 if the files or the cluster cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Migrate {
    /// Manifests; `-` reads standard input [default: the cluster]
    files: Vec<PathBuf>,
    /// Namespace of MetalLB, in the cluster or in the files [default: metallb-system, or the only one in the
    /// files]
    #[arg(long, value_name = "NAMESPACE")]
    from: Option<String>,
    /// Namespace that FerroLB runs in, or will
    #[arg(
        short,
        long,
        default_value = DEFAULT_NAMESPACE,
        help_heading = HEADING
    )]
    namespace: String,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = concat!(
    "\
Examples:
  # What is in force in the cluster
  kubectl ferrolb migrate > config.yaml

  # From files
  kubectl ferrolb migrate pools.yaml advertisements.yaml > config.yaml

The whole way, so that every Service keeps its address: ",
    page!("migrate-from-metallb.md")
);

/// A configuration of ours, and what is not in it.
#[derive(Debug, PartialEq, Eq)]
struct Migrated {
    config: String,
    lost: Vec<String>,
}

impl Migrate {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (found, passed_over) = self.found()?;
        let mut migrated = migrate(found)?;
        migrated.lost.splice(0..0, passed_over);
        let mut complaints = terminal::stderr();
        for lost in &migrated.lost {
            writeln!(complaints, "{WARNING}warning:{WARNING:#} {lost}")?;
        }
        let map = config_map(&self.namespace, &migrated.config);
        self.format.print(out, &map, |out| {
            Ok(print(out, &self.namespace, &migrated.config)?)
        })?;
        let render = |problems: &Problems| trusted(&problems.render("config", &migrated.config));
        let (problems, effect) = match config::parse(&migrated.config) {
            Outcome::Valid(_) => return Ok(ExitCode::SUCCESS),
            Outcome::Partly(_, left_out) => (render(&left_out), config::REST_IN_FORCE),
            Outcome::NotConfigured(why) => (why.to_string(), config::NONE_IN_FORCE),
            Outcome::Refused(problems) => (render(&problems), config::NONE_IN_FORCE),
        };
        writeln!(complaints, "{problems}\n\n{BAD}error:{BAD:#} {effect}")?;
        Ok(ExitCode::from(PROBLEMS))
    }
}

impl Migrate {
    /// What is in force, and what is not, though it looks so.
    fn found(&self) -> anyhow::Result<(Found, Vec<String>)> {
        let from = self.from.as_deref();
        if self.files.is_empty() {
            let from = from.unwrap_or(DEFAULT_NAMESPACE);
            let found = self
                .access
                .run(None, None, async |cluster| live::read(cluster, from).await)?;
            return Ok((found, Vec::new()));
        }
        let mut files = Files::default();
        for file in &self.files {
            let cannot = || format!("cannot read {}", file.display());
            files
                .take(&read(file).with_context(cannot)?)
                .with_context(cannot)?;
        }
        files.of(from)
    }
}

fn migrate(found: Found) -> anyhow::Result<Migrated> {
    if !found.maps.is_empty() && !found.objects.is_empty() {
        bail!(
            "there are a ConfigMap of MetalLB 0.9 to 0.12 and objects of 0.13 or later: give those \
             alone that are in force"
        );
    }
    match <[String; 1]>::try_from(found.maps) {
        Ok([config]) => Ok(Migrated {
            // The format is the same, comments and all.
            lost: bgp_is_not_spoken(&config),
            config,
        }),
        Err(maps) if maps.is_empty() && found.objects.is_empty() => bail!(
            "nothing of MetalLB's: neither a ConfigMap with key `config` nor an IPAddressPool"
        ),
        Err(maps) if maps.is_empty() => convert::convert(&found.objects),
        Err(maps) => bail!("{} ConfigMaps with key `config`: give one", maps.len()),
    }
}

fn bgp_is_not_spoken(config: &str) -> Vec<String> {
    let Some(config) = config::parse(config).in_force() else {
        return Vec::new();
    };
    let bgp = |pool: &&config::Pool| config.protocols_of(&pool.name).is_bgp_alone();
    let pools = config.pools.iter().filter(bgp);
    pools.map(|pool| not_announced(&pool.name)).collect()
}

fn not_announced(pool: &str) -> String {
    format!(
        "pool {pool} is announced by BGP, which FerroLB does not speak yet: its addresses are \
         given, \
         and nothing announces them"
    )
}

fn config_map(namespace: &str, config: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(DEFAULT_CONFIG_NAME.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("config".to_owned(), config.to_owned())].into()),
        ..ConfigMap::default()
    }
}

/// The same for people. By hand: a block of text keeps comments and stays readable.
fn print(out: &mut impl Write, namespace: &str, config: &str) -> io::Result<()> {
    writeln!(
        out,
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: {namespace}\n  name: \
         {DEFAULT_CONFIG_NAME}\ndata:\n  config: |"
    )?;
    for line in config.lines() {
        if line.trim().is_empty() {
            writeln!(out)?;
        } else {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> io::Result<String> {
    if file.as_os_str() == "-" {
        return io::read_to_string(io::stdin().lock());
    }
    fs::read_to_string(file)
}
