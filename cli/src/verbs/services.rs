//! `kubectl ferrolb services`.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use crate::ago;
use crate::answers::services::{ServicesAnswer, Wanted};
use crate::cluster::{Cluster, Scope};
use crate::controller::not_leading;
use crate::output::WideFormat;
use crate::picture::{Picture, Service};
use crate::table;
use crate::terminal::{BAD, Paint, WARNING};
use crate::watch::{self, Shown};

/// List the LoadBalancer Services: their addresses, the announcing node, and what is wrong with them.
///
/// Exit status: 0, or 2 if no controller answers; then it lists what the API server and the speakers know.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Services {
    /// Only the Service of this name
    name: Option<String>,
    /// Only those that this node announces
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only those with addresses from this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Only those that have this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Only those with a problem
    #[arg(long)]
    problems: bool,
    /// Show it again whenever it changes, until you stop it
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    format: WideFormat,
}

const EXAMPLES: &str = "\
Examples:
  # What is wrong, anywhere
  kubectl ferrolb services -A --problems

  # What a node announces
  kubectl ferrolb services -A --node n1

  # Every change, until Ctrl-C
  kubectl ferrolb services -A --watch";

const NONE: &str = "no such Services for FerroLB";

/// It is not known what the controller decided.
const NOT_KNOWN: u8 = 2;

impl Services {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let all = self.scope.all_namespaces;
        self.scope.services.run(async |cluster| {
            let wanted = self.wanted(cluster);
            let place = if all {
                "any namespace".to_owned()
            } else {
                format!("namespace {}; -A looks in all of them", cluster.namespace)
            };
            let none = if self.problems {
                "no Service has a problem"
            } else {
                NONE
            };
            watch::shown(out, cluster, self.watch, |out, picture| {
                let answer = ServicesAnswer::of(picture, &wanted);
                self.format.print(out, &answer, |out, is_wide| {
                    text(out, &answer.services, picture, (none, &place), is_wide)
                })?;
                let trouble = not_leading(&picture.controller);
                let code = match trouble {
                    None => ExitCode::SUCCESS,
                    Some(_) => ExitCode::from(NOT_KNOWN),
                };
                Ok(Shown { code, trouble })
            })
            .await
        })
    }

    fn wanted(&self, cluster: &Cluster) -> Wanted {
        let namespace = (!self.scope.all_namespaces).then(|| cluster.namespace.clone());
        Wanted {
            namespace,
            name: self.name.clone(),
            node: self.node.clone(),
            pool: self.pool.clone(),
            address: self.address,
            problems: self.problems,
        }
    }
}

fn text(
    out: &mut impl Write,
    services: &[Service],
    picture: &Picture,
    (none, place): (&str, &str),
    is_wide: bool,
) -> anyhow::Result<()> {
    if services.is_empty() {
        writeln!(out, "{none} in {place}")?;
        return Ok(());
    }
    let rows = services.iter().map(|service| row(service, picture));
    if is_wide {
        let head = [HEAD.as_slice(), &["POLICY", "SINCE"]].concat();
        let wide = services.iter().zip(rows).map(|(service, row)| {
            let [a, b, c, d, e, f, g, h] = row;
            let policy = service.policy.unwrap_or("-").to_owned();
            [
                a,
                b,
                c,
                d,
                e,
                f,
                g,
                h,
                policy,
                ago::column(service.since, picture.now),
            ]
        });
        let head: [String; 10] = std::array::from_fn(|column| head[column].to_owned());
        let rows: Vec<_> = std::iter::once(head).chain(wide).collect();
        table::print_marked(out, &rows, &mark)?;
    } else {
        let head = HEAD.map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        table::print_marked(out, &rows, &mark)?;
    }
    let in_trouble = |service: &&Service| service.trouble(picture).is_some();
    if let Some(first) = services.iter().find(in_trouble) {
        writeln!(
            out,
            "\nwhy, and what to do: kubectl ferrolb explain -n {} svc/{}",
            first.status.namespace, first.status.name
        )?;
    }
    Ok(())
}

const HEAD: [&str; 8] = [
    "NAMESPACE",
    "NAME",
    "ADDRESSES",
    "NODE",
    "ANNOUNCED",
    "POOL",
    "AGE",
    "PROBLEM",
];

/// What needs an eye; the words say it, too.
fn mark(cell: &str) -> Option<Paint> {
    match cell {
        "<pending>" | "no" | "twice" => Some(BAD),
        "unknown" => Some(WARNING),
        _ => None,
    }
}

fn row(service: &Service, picture: &Picture) -> [String; 8] {
    let status = &service.status;
    let addresses = match status.addresses.as_slice() {
        [] => "<pending>".to_owned(),
        some => some.join(","),
    };
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        status.namespace.clone(),
        status.name.clone(),
        addresses,
        match service.nodes.as_deref() {
            None => "unknown".to_owned(),
            Some([]) => "-".to_owned(),
            Some(nodes) => nodes.join(","),
        },
        announced(service, picture),
        or_dash(status.pool.as_deref()),
        ago::column(service.created, picture.now),
        or_dash(service.trouble(picture).as_deref()),
    ]
}

fn announced(service: &Service, picture: &Picture) -> String {
    let all = service.status.addresses.len();
    if service.trouble(picture).as_deref() == Some("announced twice") {
        return "twice".to_owned();
    }
    match service.announced {
        _ if all == 0 => "-".to_owned(),
        None => "unknown".to_owned(),
        Some(0) => "no".to_owned(),
        Some(count) if count == all => "yes".to_owned(),
        Some(count) => format!("{count} of {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{announcing, controller, printed, said_of};
    use crate::picture::tests::{picture_of, speakers_on};

    fn picture() -> Picture {
        let mut speakers = announcing(&["192.168.64.240"]);
        speakers.push((
            "n2".to_owned(),
            Err(anyhow::anyhow!("no answer within 2 s")),
        ));
        picture_of(speakers_on(&["n1", "n2"]), Ok(controller()), speakers)
    }

    fn shown(picture: &Picture, wanted: &Wanted, is_wide: bool) -> String {
        let answer = ServicesAnswer::of(picture, wanted);
        let place = "any namespace";
        printed(|out| text(out, &answer.services, picture, (NONE, place), is_wide))
    }

    #[test]
    fn services_are_shown_with_addresses_nodes_and_reasons() {
        insta::assert_snapshot!(shown(&picture(), &Wanted::default(), false));
        insta::assert_snapshot!(shown(&picture(), &Wanted::default(), true));
    }

    #[test]
    fn they_are_narrowed_down_by_name_node_pool_address_and_problem() {
        let names = |wanted: Wanted| {
            let answer = ServicesAnswer::of(&picture(), &wanted);
            let names = answer.services.into_iter().map(|one| one.status.name);
            names.collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        let any = Wanted::default;
        assert_eq!(names(any()), ["api", "web", "worker"]);
        assert_eq!(
            names(Wanted {
                node: some("n1"),
                ..any()
            }),
            ["api"]
        );
        assert_eq!(
            names(Wanted {
                pool: some("default"),
                ..any()
            }),
            ["api", "web"]
        );
        assert_eq!(
            names(Wanted {
                name: some("web"),
                ..any()
            }),
            ["web"]
        );
        assert_eq!(
            names(Wanted {
                namespace: some("other"),
                ..any()
            }),
            [""; 0]
        );
        let address = Some("192.168.64.241".parse().unwrap());
        assert_eq!(names(Wanted { address, ..any() }), ["web"]);
        // Of web it is not known who announces it.
        assert_eq!(
            names(Wanted {
                problems: true,
                ..any()
            }),
            ["web", "worker"]
        );
    }

    #[test]
    fn silence_on_purpose_is_shown_and_is_no_problem() {
        let mut status = controller();
        status.services.truncate(1);
        let said = said_of("192.168.64.240", &[("n1", Some("no_endpoint"))]);
        let picture = picture_of(speakers_on(&["n1"]), Ok(status), said);
        insta::assert_snapshot!(shown(&picture, &Wanted::default(), false));
        let problems = Wanted {
            problems: true,
            ..Wanted::default()
        };
        assert_eq!(ServicesAnswer::of(&picture, &problems).services, []);
    }

    #[test]
    fn an_empty_namespace_is_said_with_the_way_out() {
        let place = "namespace default; -A looks into all";
        insta::assert_snapshot!(printed(|out| text(
            out,
            &[],
            &picture(),
            (NONE, place),
            false
        )));
    }
}
