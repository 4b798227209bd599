//! `kubectl ferrolb migrate`.

mod addresses;
mod cilium;
mod convert;
mod files;
mod from_config_map;
mod kube_vip;
mod live;
mod manifests;
mod metallb;
mod others;
mod ours;
mod purelb;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use ferrolb_core::config::{self, Outcome, Problems};
use ferrolb_core::names::{DEFAULT_CONFIG_NAME, DEFAULT_NAMESPACE};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::files::{Files, Source};
use self::metallb::{Found, Objects};
use crate::cluster::{Access, HEADING};
use crate::output::{Format, page};
use crate::terminal::{self, BAD, WARNING, trusted};

/// What was read makes no configuration that would take effect.
const PROBLEMS: u8 = 1;

/// Convert the configuration of MetalLB, kube-vip, Cilium or PureLB.
///
/// Reads MetalLB's configuration in either form, the ConfigMap of 0.9 to 0.12 or the objects of 0.13 and later
/// (IPAddressPool, L2Advertisement, BGPAdvertisement, BGPPeer, BFDProfile, Community), and prints it in the form
/// that --to says. FerroLB reads both. In files it also takes the ConfigMap of kube-vip's cloud provider, Cilium's
/// address pools and layer-2 policies, and PureLB's groups and node agents. What is not the same afterwards is
/// listed on standard error and as comments. Without files it reads MetalLB's in the cluster, and changes nothing
/// there.
///
/// Exit status: 0 if what it prints would take effect, 1 if not, 2 if the files or the cluster cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Migrate {
    /// Manifests; `-` reads standard input [default: the cluster]
    files: Vec<PathBuf>,
    /// What to print
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Form::Configmap)]
    to: Form,
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

/// The forms of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// FerroLB's ConfigMap, which MetalLB up to 0.12 reads as well.
    Configmap,
    /// MetalLB's objects of 0.13 and later.
    Objects,
}

const EXAMPLES: &str = concat!(
    "\
Examples:
  # What is in force in the cluster
  kubectl ferrolb migrate > config.yaml

  # From files
  kubectl ferrolb migrate pools.yaml advertisements.yaml > config.yaml

  # A copy of MetalLB's objects, before MetalLB and its definitions go
  kubectl ferrolb migrate --to objects > objects.yaml

  # From a ConfigMap to objects
  kubectl ferrolb migrate --to objects config.yaml > objects.yaml

  # From kube-vip, from Cilium, from PureLB
  kubectl get configmap -n kube-system kubevip -o yaml | kubectl ferrolb migrate -
  kubectl get ciliumloadbalancerippools,ciliuml2announcementpolicies -o yaml | kubectl ferrolb migrate -
  kubectl get servicegroups,lbnodeagents -n purelb -o yaml | kubectl ferrolb migrate -

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
        let (source, mut lost) = self.source()?;
        let config = match self.to {
            Form::Configmap => {
                let migrated = migrate(source)?;
                lost.extend(migrated.lost);
                tell(&lost)?;
                let map = config_map(&self.namespace, &migrated.config);
                self.format.print(out, &map, |out| {
                    Ok(print(out, &self.namespace, &migrated.config, &lost)?)
                })?;
                migrated.config
            }
            Form::Objects => {
                let mut objects = to_objects(source, &mut lost)?;
                manifests::clean(&mut objects, &self.namespace);
                tell(&lost)?;
                let list = manifests::list(&objects)?;
                self.format
                    .print(out, &list, |out| manifests::print(out, &list, &lost))?;
                // The same in the form that the daemons' reader knows.
                convert::convert(&objects)?.config
            }
        };
        judge(&config)
    }

    /// What is in force, and what is not, though it looks so.
    fn source(&self) -> anyhow::Result<(Source, Vec<String>)> {
        let from = self.from.as_deref();
        if self.files.is_empty() {
            let from = from.unwrap_or(DEFAULT_NAMESPACE);
            let found = self
                .access
                .run(None, None, async |cluster| live::read(cluster, from).await)?;
            return Ok((Source::MetalLb(found), Vec::new()));
        }
        let mut files = Files::default();
        for file in &self.files {
            let cannot = || format!("cannot read {}", file.display());
            files
                .take(&read(file).with_context(cannot)?)
                .with_context(cannot)?;
        }
        files.source(from)
    }
}

fn tell(lost: &[String]) -> io::Result<()> {
    let mut complaints = terminal::stderr();
    for lost in lost {
        writeln!(complaints, "{WARNING}warning:{WARNING:#} {lost}")?;
    }
    Ok(())
}

/// Whether that would take effect, and if not, why.
fn judge(config: &str) -> anyhow::Result<ExitCode> {
    let render = |problems: &Problems| trusted(&problems.render("config", config));
    let (problems, effect) = match config::parse(config) {
        Outcome::Valid(_) => return Ok(ExitCode::SUCCESS),
        Outcome::Partly(_, left_out) => (render(&left_out), config::REST_IN_FORCE),
        Outcome::NotConfigured(why) => (why.to_string(), config::NONE_IN_FORCE),
        Outcome::Refused(problems) => (render(&problems), config::NONE_IN_FORCE),
    };
    writeln!(
        terminal::stderr(),
        "{problems}\n\n{BAD}error:{BAD:#} {effect}"
    )?;
    Ok(ExitCode::from(PROBLEMS))
}

/// The one form that MetalLB's configuration is in.
enum Only {
    Map(String),
    Objects(Objects),
}

fn only(found: Found) -> anyhow::Result<Only> {
    if !found.maps.is_empty() && !found.objects.is_empty() {
        bail!(
            "there are a ConfigMap of MetalLB 0.9 to 0.12 and objects of 0.13 or later: give those \
             alone that are in force"
        );
    }
    match <[String; 1]>::try_from(found.maps) {
        Ok([config]) => Ok(Only::Map(config)),
        Err(maps) if maps.is_empty() && found.objects.is_empty() => bail!(
            "nothing to convert: neither a ConfigMap with key `config` nor an IPAddressPool, nor anything of \
             kube-vip, Cilium or PureLB"
        ),
        Err(maps) if maps.is_empty() => Ok(Only::Objects(found.objects)),
        Err(maps) => bail!("{} ConfigMaps with key `config`: give one", maps.len()),
    }
}

fn migrate(source: Source) -> anyhow::Result<Migrated> {
    let found = match source {
        Source::MetalLb(found) => found,
        Source::Other(objects) => return convert::convert(&objects),
    };
    match only(found)? {
        Only::Map(config) => Ok(Migrated {
            // The format is the same, comments and all.
            lost: bgp_is_not_spoken(&config),
            config,
        }),
        Only::Objects(objects) => convert::convert(&objects),
    }
}

fn to_objects(source: Source, lost: &mut Vec<String>) -> anyhow::Result<Objects> {
    let found = match source {
        Source::MetalLb(found) => found,
        Source::Other(objects) => return Ok(objects),
    };
    match only(found)? {
        Only::Objects(objects) => Ok(objects),
        Only::Map(config) => {
            lost.extend(bgp_is_not_spoken(&config));
            from_config_map::objects(&config, lost)
        }
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
fn print(out: &mut impl Write, namespace: &str, config: &str, lost: &[String]) -> io::Result<()> {
    manifests::comment(out, lost)?;
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
