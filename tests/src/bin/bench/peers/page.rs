//! The page of a run: its tables and pictures stand between two lines of `docs/benchmarks/peers.md`, and what is
//! around them is written by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::chart::{Bar, Panel, svg};
use super::fault::{CONNECTIONS, Fault};
use super::figures::{Contender, Figure, Round, Run};
use super::peer::IDLE;

const PAGE: &str = "peers.md";
const BEGIN: &str = "<!-- figures: made by `make bench-peers` -->\n";
const END: &str = "<!-- end of figures -->";

pub(crate) fn write(out: &Path, run: &Run) -> Result<()> {
    let pictures = [
        ("peers-faults.svg", "What faults cost", of_faults(run)),
        ("peers-services.svg", "Services and ARP", services(run)),
        ("peers-cost.svg", "Cost while nothing happens", cost(run)),
    ];
    for (file, title, panels) in pictures {
        fs::write(out.join(file), svg(title, &panels))?;
    }
    let page = out.join(PAGE);
    let text = fs::read_to_string(&page).unwrap_or_else(|_| format!("{BEGIN}{END}\n"));
    fs::write(&page, with_figures(&text, &figures(run))?)?;
    println!("written: {}", page.display());
    Ok(())
}

/// The page with these figures in place of those that it has.
fn with_figures(page: &str, figures: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("no begin of figures")?;
    let (_, after) = rest.split_once(END).context("no end of figures")?;
    Ok(format!("{before}{BEGIN}\n{figures}\n{END}{after}"))
}

fn figures(run: &Run) -> String {
    let Run {
        command,
        date,
        commit,
        machine,
        load,
        kubernetes,
        rounds,
        idle_seconds,
        contenders,
    } = run;
    let all = contenders.iter();
    let load = load.map_or_else(String::new, |load| {
        format!(", with a load of {load:.1} when it began")
    });
    let mut text = format!(
        "`{command}`, {date}, commit {commit}. {machine}{load}. Kubernetes {kubernetes}. {rounds} rounds of each \
         fault; {idle_seconds} s without anything to do.\n\n"
    );
    text += "![What each fault costs: silence or broken connections](peers-faults.svg)\n\n";
    text += "**Longest silence**, in seconds: median, and the longest of all rounds.\n\n";
    text += &table(&faults(run), all.clone(), |contender, fault| {
        rounds_of(contender, fault).map(|rounds| {
            let (median, longest) = spread(silences(rounds));
            let over = rounds.iter().all(|round| round.is_over);
            let over = if over {
                ""
            } else {
                ", not over when we stopped to wait"
            };
            Some(format!("{median:.2}, {longest:.2}{over}"))
        })
    });
    let _ = writeln!(
        text,
        "\n**Connections that broke**, of {CONNECTIONS}, and how often the address moved: the most of all rounds.\n"
    );
    text += &table(&faults(run), all.clone(), |contender, fault| {
        rounds_of(contender, fault).map(|rounds| {
            let most = |of: fn(&Round) -> usize| rounds.iter().map(of).max();
            let broken = most(|round| round.broken)?;
            let moves = most(|round| round.moves)?;
            Some(format!("{broken}, {moves}×"))
        })
    });
    text += "\n![Services and ARP](peers-services.svg)\n\n";
    text += &rows(
        &[
            "a Service's address on the LAN, ms after its creation: median, longest",
            "200 Services at once, s until the last",
            "ARP answers a second, and the kernel's beside it",
        ],
        all.clone(),
        service_cells,
    );
    text += "\n![Cost while nothing happens](peers-cost.svg)\n\n";
    let _ = writeln!(
        text,
        "With {} addresses and nothing to do. On each node, and in the controller, which there is once.\n",
        IDLE + 1
    );
    text += &rows(
        &[
            "memory, MiB: node, controller",
            "CPU, thousandths of a core: node, controller",
            "program, MB: node, controller",
            "writes to the API, an hour",
            "received from the API server by all daemons, MB an hour",
        ],
        all,
        cost_cells,
    );
    text += "\nTo empty a node, beside `kubectl cordon`:\n\n";
    for contender in contenders {
        let _ = writeln!(text, "- {}: {}", contender.title(), contender.drain);
    }
    text
}

/// What is shown of one of them as soon as it has been measured.
pub(crate) fn lines_of(contender: &Contender) -> String {
    let mut text = String::new();
    for (fault, rounds) in &contender.faults {
        let _ = writeln!(text, "  {}: {rounds:?}", fault.text());
    }
    for cell in service_cells(contender)
        .into_iter()
        .chain(cost_cells(contender))
    {
        let _ = writeln!(text, "  {cell}");
    }
    text
}

fn faults(run: &Run) -> Vec<Fault> {
    let first = run.contenders.first();
    let faults = first.into_iter().flat_map(|one| &one.faults);
    faults.map(|(fault, _)| *fault).collect()
}

fn table<'a>(
    faults: &[Fault],
    contenders: impl Iterator<Item = &'a Contender>,
    cell: impl Fn(&Contender, Fault) -> Figure<Option<String>>,
) -> String {
    let heads: Vec<_> = faults.iter().map(|fault| fault.text()).collect();
    rows(&heads, contenders, |contender| {
        let cells = faults.iter().map(|fault| match cell(contender, *fault) {
            Figure::Of(text) => text.unwrap_or_else(|| "–".to_owned()),
            Figure::None(why) => missing(&why),
        });
        cells.collect()
    })
}

fn rows<'a>(
    heads: &[&str],
    contenders: impl Iterator<Item = &'a Contender>,
    cells: impl Fn(&Contender) -> Vec<String>,
) -> String {
    let mut text = format!(
        "| | {} |\n|{}\n",
        heads.join(" | "),
        " --- |".repeat(heads.len() + 1)
    );
    for contender in contenders {
        let cells = cells(contender).join(" | ");
        let _ = writeln!(text, "| {} | {cells} |", contender.title());
    }
    text
}

fn missing(why: &str) -> String {
    format!("n/a ({})", why.replace(['|', '\n'], " "))
}

fn service_cells(contender: &Contender) -> Vec<String> {
    let announced = contender.services.map(|services| {
        let (median, longest) = spread(services.announced_ms.clone());
        format!("{median:.0}, {longest:.0}")
    });
    let at_once = contender.at_once.map(|all| {
        let seconds = all.last_ms / 1_000.0;
        match all.announced == all.services {
            true => format!("{seconds:.1}"),
            false => format!("{} of {} after {seconds:.0}", all.announced, all.services),
        }
    });
    let arp = contender
        .arp
        .map(|arp| format!("{:.0}, {:.0}", arp.address, arp.kernel));
    [announced, at_once, arp].map(text_of).into()
}

fn cost_cells(contender: &Contender) -> Vec<String> {
    let cost = &contender.cost;
    let pair = |node: f64, controller: Option<f64>, digits: usize| match controller {
        Some(controller) => format!("{node:.digits$}, {controller:.digits$}"),
        None => format!("{node:.digits$}, none"),
    };
    [
        cost.map(|cost| pair(cost.node_memory, cost.controller_memory, 1)),
        cost.map(|cost| pair(cost.node_cpu, cost.controller_cpu, 2)),
        cost.map(|cost| {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            pair(
                megabytes(cost.node_program),
                cost.controller_program.map(megabytes),
                1,
            )
        }),
        contender.api.map(|api| format!("{:.0}", api.writes)),
        contender
            .api
            .map(|api| format!("{:.2}", api.bytes_received / 1e6)),
    ]
    .map(text_of)
    .into()
}

fn text_of(figure: Figure<String>) -> String {
    match figure {
        Figure::Of(text) => text,
        Figure::None(why) => missing(&why),
    }
}

fn rounds_of(contender: &Contender, fault: Fault) -> Figure<&[Round]> {
    let found = contender.faults.iter().find(|(one, _)| *one == fault);
    match found {
        Some((_, Figure::Of(rounds))) => Figure::Of(rounds),
        Some((_, Figure::None(why))) => Figure::None(why.clone()),
        None => Figure::None("not run".to_owned()),
    }
}

/// In seconds.
fn silences(rounds: &[Round]) -> Vec<f64> {
    let silences = rounds.iter().map(|round| round.silence_ms / 1_000.0);
    silences.collect()
}

/// Median and maximum.
fn spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied();
    (
        median.unwrap_or(f64::NAN),
        values.last().copied().unwrap_or(f64::NAN),
    )
}

fn panel(
    run: &Run,
    title: impl Into<String>,
    value: impl Fn(&Contender) -> Figure<(f64, String)>,
) -> Panel {
    let bars = run.contenders.iter().map(|contender| {
        let (value, text) = match value(contender) {
            Figure::Of((value, text)) => (Some(value), text),
            Figure::None(_) => (None, "n/a".to_owned()),
        };
        Bar {
            label: contender.title(),
            value,
            text,
        }
    });
    Panel {
        title: title.into(),
        bars: bars.collect(),
    }
}

/// Silence where another node has to take over; elsewhere there is none, and what can be lost is connections.
fn of_faults(run: &Run) -> Vec<Panel> {
    let faults = faults(run).into_iter();
    let (moving, others): (Vec<_>, Vec<_>) = faults.partition(|fault| fault.moves());
    let silence = moving.into_iter().map(|fault| {
        let title = format!("{}: longest silence, s", fault.text());
        panel(run, title, |contender| {
            rounds_of(contender, fault).map(|rounds| {
                let (median, _) = spread(silences(rounds));
                (median, format!("{median:.2}"))
            })
        })
    });
    let broken = others.into_iter().map(|fault| {
        let title = format!("{}: connections that broke, of {CONNECTIONS}", fault.text());
        panel(run, title, |contender| {
            rounds_of(contender, fault).map(|rounds| {
                let most = rounds.iter().map(|round| round.broken).max();
                let most = most.unwrap_or_default();
                (most as f64, most.to_string())
            })
        })
    });
    silence.chain(broken).collect()
}

fn services(run: &Run) -> Vec<Panel> {
    vec![
        panel(run, "a Service's address on the LAN, ms", |contender| {
            contender.services.map(|services| {
                let (median, _) = spread(services.announced_ms.clone());
                (median, format!("{median:.0}"))
            })
        }),
        panel(
            run,
            "200 Services at once, s until the last",
            |contender| match &contender.at_once {
                Figure::Of(all) if all.announced < all.services => {
                    Figure::None("not all".to_owned())
                }
                all => all.map(|all| {
                    let seconds = all.last_ms / 1_000.0;
                    (seconds, format!("{seconds:.1}"))
                }),
            },
        ),
        panel(
            run,
            "ARP answers, % of those of the node's kernel (more is better)",
            |contender| {
                contender.arp.map(|arp| {
                    let share = arp.address / arp.kernel * 100.0;
                    (share, format!("{share:.0}"))
                })
            },
        ),
    ]
}

fn cost(run: &Run) -> Vec<Panel> {
    let of_cost = |title: &str, value: fn(&super::figures::Cost) -> f64, digits: usize| {
        panel(run, title, |contender| {
            contender.cost.map(|cost| {
                let value = value(cost);
                (value, format!("{value:.digits$}"))
            })
        })
    };
    vec![
        of_cost("memory on each node, MiB", |cost| cost.node_memory, 1),
        of_cost(
            "CPU on each node, thousandths of a core",
            |cost| cost.node_cpu,
            2,
        ),
        of_cost(
            "program on each node, MB",
            |cost| cost.node_program as f64 / 1e6,
            1,
        ),
        panel(run, "writes to the API, an hour", |contender| {
            contender
                .api
                .map(|api| (api.writes, format!("{:.0}", api.writes)))
        }),
        panel(
            run,
            "received from the API server, MB an hour",
            |contender| {
                contender.api.map(|api| {
                    let megabytes = api.bytes_received / 1e6;
                    (megabytes, format!("{megabytes:.2}"))
                })
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_figures_replace_those_of_the_page_and_nothing_else() {
        let page = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let page = with_figures(&page, "new").unwrap();
        assert_eq!(page, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(with_figures("no marks", "new").is_err());
    }

    #[test]
    fn what_was_not_measured_has_a_word_of_why_and_no_number() {
        assert_eq!(missing("a | b\nc"), "n/a (a   b c)");
    }

    #[test]
    fn the_median_of_an_even_number_is_the_larger_of_the_two_in_the_middle() {
        assert_eq!(spread(vec![3.0, 1.0, 4.0, 2.0]), (3.0, 4.0));
    }
}
