//! What is shown, and what keys do to it: no terminal is in it.

use std::cmp::Reverse;

use crossterm::event::{KeyCode, KeyModifiers};

use super::moves::{Moves, clock};
use super::screen::Key;
use crate::ago;
use crate::answers::explain::announced;
use crate::answers::services::ServicesAnswer;
use crate::picture::{Address, AddressState, Node, NodeState, Picture, Severity};
use crate::table;
use crate::terminal::{BAD, GOOD, Paint, WARNING};
use crate::verbs::explain;
use crate::width;

/// Problems and moves that are shown at once.
const LINES: usize = 5;
/// Behind the address that keys are about.
const SELECTED: &str = " ◂";
/// Columns of the longest bar.
const BAR: usize = 10;

/// What goes on after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Go,
    Quit,
}

/// By what addresses are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Address,
    /// The worst first.
    State,
    Node,
    Service,
    /// What changed last first.
    Since,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Address => Self::State,
            Self::State => Self::Node,
            Self::Node => Self::Service,
            Self::Service => Self::Since,
            Self::Since => Self::Address,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::State => "state",
            Self::Node => "node",
            Self::Service => "service",
            Self::Since => "since",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct View {
    sort: Sort,
    problems_only: bool,
    filter: String,
    /// Whether keys are letters of the filter.
    is_typing: bool,
    selected: usize,
    is_explaining: bool,
}

/// A row of the lower table: an address, or a Service that waits for one.
struct Row {
    cells: [String; 6],
    address: Option<std::net::IpAddr>,
}

impl View {
    pub(super) fn handle(&mut self, key: Key, picture: &Picture) -> After {
        let Key::Pressed(key) = key else {
            return After::Go;
        };
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => After::Quit,
                _ => After::Go,
            };
        }
        if self.is_typing {
            match key.code {
                KeyCode::Char(letter) => self.filter.push(letter),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => {
                    self.is_typing = false;
                    self.filter.clear();
                }
                _ => {}
            }
            self.selected = 0;
            return After::Go;
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc if self.is_explaining => self.is_explaining = false,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('e') | KeyCode::Enter => self.is_explaining = !self.is_explaining,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('p') => self.problems_only = !self.problems_only,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            _ => {}
        }
        let last = self.rows(picture).len().saturating_sub(1);
        self.selected = self.selected.min(last);
        After::Go
    }

    /// For a terminal of so many columns and rows.
    pub(super) fn frame(
        &self,
        picture: &Picture,
        moves: &Moves,
        trouble: Option<&str>,
        columns: usize,
        rows: usize,
    ) -> Vec<String> {
        let mut lines = vec![header(picture, columns)];
        if let Some(trouble) = trouble {
            let text = width::cut(&format!("this is old: {trouble}"), columns);
            lines.push(format!("{BAD}{text}{BAD:#}"));
        }
        let keys = self.keys(columns);
        if self.is_explaining {
            lines.extend(self.explanation(picture, columns));
        } else {
            lines.extend(nodes(picture, moves, columns, (rows / 4).max(3)));
            lines.push(String::new());
            let mut below = problems(picture, columns);
            below.extend(moved(moves, columns));
            let used = lines.len() + below.len() + 1;
            let room = rows.saturating_sub(used).max(2);
            lines.extend(self.addresses(picture, columns, Some(room)));
            lines.extend(below);
        }
        lines.truncate(rows.saturating_sub(1));
        lines.push(keys);
        lines
    }

    /// For a pipe: all of it, without keys.
    pub(super) fn block(&self, picture: &Picture, moves: &Moves, columns: usize) -> Vec<String> {
        let mut lines = vec![header(picture, columns)];
        lines.extend(nodes(picture, moves, columns, usize::MAX));
        lines.extend(self.addresses(picture, columns, None));
        lines.extend(problems(picture, columns));
        lines.extend(moved(moves, columns));
        lines
    }

    fn keys(&self, columns: usize) -> String {
        let text = if self.is_typing {
            format!("filter: {}_   Enter keeps it, Esc clears it", self.filter)
        } else if self.is_explaining {
            "[e]xplain off  ↑↓ select  [q]uit".to_owned()
        } else {
            let filter = match self.filter.as_str() {
                "" => String::new(),
                some => format!(" {some}"),
            };
            let only = if self.problems_only { " on" } else { "" };
            format!(
                "[s]ort: {}  [p]roblems only{only}  [/]filter{filter}  ↑↓ select  [e]xplain  [q]uit",
                self.sort.word()
            )
        };
        width::cut(&text, columns)
    }

    fn rows(&self, picture: &Picture) -> Vec<Row> {
        let is_wanted = |state: AddressState| {
            !self.problems_only
                || matches!(
                    state,
                    AddressState::Twice | AddressState::Silent | AddressState::Unknown
                )
        };
        let addresses = picture.addresses.iter();
        let mut addresses: Vec<_> = addresses.filter(|one| is_wanted(one.state)).collect();
        match self.sort {
            Sort::Address => {}
            Sort::State => addresses.sort_by_key(|one| one.state),
            Sort::Node => addresses.sort_by(|a, b| a.nodes.cmp(&b.nodes)),
            Sort::Service => addresses.sort_by(|a, b| a.services.cmp(&b.services)),
            Sort::Since => addresses.sort_by_key(|one| Reverse(one.since)),
        }
        let mut rows: Vec<_> = addresses.into_iter().map(|one| row(one, picture)).collect();
        rows.extend(waiting(picture));
        let wanted = self.filter.to_lowercase();
        rows.retain(|row| {
            let mut cells = row.cells.iter();
            cells.any(|cell| cell.to_lowercase().contains(&wanted))
        });
        rows
    }

    /// At most `room` lines, the head among them; with the selected one, if any is.
    fn addresses(&self, picture: &Picture, columns: usize, room: Option<usize>) -> Vec<String> {
        let head = ["ADDRESS", "SERVICE", "NODE", "POLICY", "SINCE", "NOTE"].map(str::to_owned);
        let rows = self.rows(picture);
        let count = rows.len();
        let mut cells = vec![head];
        for (number, row) in rows.into_iter().enumerate() {
            let mut row = row.cells;
            if room.is_some() && number == self.selected {
                row[0].push_str(SELECTED);
            }
            cells.push(row);
        }
        let mut lines = table::cut_within(&cells, &mark, columns);
        let Some(room) = room.filter(|room| lines.len() > *room) else {
            return lines;
        };
        let head = lines.remove(0);
        let shown = room.saturating_sub(2).max(1);
        let first = self.selected.saturating_sub(shown / 2);
        let first = first.min(count.saturating_sub(shown));
        let mut part = vec![head];
        part.extend(lines.into_iter().skip(first).take(shown));
        part.push(format!(" … {} more", count - shown.min(count)));
        part
    }

    fn explanation(&self, picture: &Picture, columns: usize) -> Vec<String> {
        let rows = self.rows(picture);
        let mut lines = vec![String::new()];
        let selected = rows.get(self.selected).and_then(|row| row.address);
        let Some(address) = selected else {
            let about = rows.get(self.selected).map(|row| row.cells[1].clone());
            lines.push(match about {
                Some(service) => format!("{service}: kubectl ferrolb explain says why it waits"),
                None => "nothing is selected".to_owned(),
            });
            return lines;
        };
        let mut text = Vec::new();
        for announcement in announced::of(&[address], &picture.speakers) {
            // A Vec takes all of it.
            let _ = explain::announced::text(&mut text, &announcement);
        }
        for line in String::from_utf8_lossy(&text).lines() {
            // What has colours is short.
            let is_plain = !line.contains('\u{1b}');
            if is_plain {
                lines.extend(width::folded(line, columns));
            } else {
                lines.push(line.to_owned());
            }
        }
        lines
    }
}

fn header(picture: &Picture, columns: usize) -> String {
    let speakers = picture
        .daemons
        .iter()
        .filter(|one| one.is_speaker())
        .count();
    let is_live = |node: &&Node| node.state == NodeState::Live;
    let live = picture.nodes.iter().filter(is_live).count();
    let leads = picture.leaders.first();
    let leads = leads.map_or("no leader".to_owned(), |pod| {
        let daemons = &mut picture.daemons.iter();
        let leader = daemons.find(|one| one.pod == *pod);
        let node = leader.and_then(|one| one.node.clone());
        format!("leader on {}", node.as_deref().unwrap_or(pod))
    });
    let announced = picture.addresses.iter().filter(|one| {
        matches!(
            one.state,
            AddressState::Announced | AddressState::OfNode | AddressState::Twice
        )
    });
    let count = |severity| picture.verdict.of(severity).count();
    let (bad, unknown) = (count(Severity::Problem), count(Severity::Unknown));
    let (paint, verdict) = match (bad, unknown) {
        (0, 0) => (GOOD, "all is well".to_owned()),
        (0, unknown) => (WARNING, format!("{unknown} unknown")),
        (1, _) => (BAD, "1 problem".to_owned()),
        (bad, _) => (BAD, format!("{bad} problems")),
    };
    let text = format!(
        "{}  {leads}  speakers {live}/{speakers}  addresses {}/{}  ",
        clock(picture.now),
        announced.count(),
        picture.addresses.len(),
    );
    let room = columns.saturating_sub(width::of(&verdict));
    format!("{}{paint}{verdict}{paint:#}", width::cut(&text, room))
}

/// At most `room` lines; if there are more nodes, those that are not live, and those with most addresses.
fn nodes(picture: &Picture, moves: &Moves, columns: usize, room: usize) -> Vec<String> {
    let mut nodes: Vec<&Node> = picture.nodes.iter().collect();
    let all = nodes.len();
    let room = room.saturating_sub(1);
    if all > room {
        nodes.sort_by_key(|node| (node.state == NodeState::Live, Reverse(node.addresses)));
        nodes.truncate(room.saturating_sub(1));
    }
    let most = picture.nodes.iter().map(|node| node.addresses).max();
    let most = most.unwrap_or(0).max(1);
    let head = ["NODE", "STATE", "ADDRESSES", "SHARE", "LAST"].map(str::to_owned);
    let rows = nodes.iter().map(|node| {
        let state = match node.since {
            Some(since) => {
                let since = ago::short(ago::since(since, picture.now));
                format!("{} {since}", node.state.word())
            }
            None if node.cordoned => format!("{}, cordoned", node.state.word()),
            None => node.state.word().to_owned(),
        };
        let bar = "█".repeat((node.addresses * BAR).div_ceil(most));
        let last = moves.last_of(&node.name).unwrap_or_default();
        [
            node.name.clone(),
            state,
            node.addresses.to_string(),
            bar,
            last,
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut lines = table::cut_within(&rows, &mark, columns);
    if nodes.len() < all {
        lines.push(format!("… {} more", all - nodes.len()));
    }
    lines
}

/// What needs an eye; the words say it, too.
fn mark(cell: &str) -> Option<Paint> {
    match cell {
        "nobody" => Some(BAD),
        "unknown" => Some(WARNING),
        pending if pending.starts_with("<pending>") => Some(BAD),
        state if state.starts_with("dead") || state.starts_with("doubted") => Some(BAD),
        _ => None,
    }
}

fn row(address: &Address, picture: &Picture) -> Row {
    let node = match (address.state, address.nodes.as_slice()) {
        (AddressState::Unknown, _) => "unknown".to_owned(),
        (AddressState::OfNode, _) => "its own".to_owned(),
        (_, []) => "nobody".to_owned(),
        (_, some) => some.join(","),
    };
    let note = match (address.state, &address.reason) {
        (AddressState::Twice, _) => "announced twice".to_owned(),
        (AddressState::Quiet, Some(reason)) => format!("{reason}, as it should be"),
        (_, Some(reason)) => reason.clone(),
        _ => String::new(),
    };
    Row {
        cells: [
            address.address.to_string(),
            address.services.join(","),
            node,
            address.policies.join(","),
            ago::column(address.since, picture.now),
            note,
        ],
        address: Some(address.address),
    }
}

/// Services without an address.
fn waiting(picture: &Picture) -> Vec<Row> {
    let all = ServicesAnswer::of(picture, &Default::default()).services;
    let waiting = all
        .into_iter()
        .filter(|one| one.status.addresses.is_empty());
    let rows = waiting.map(|one| Row {
        cells: [
            "<pending>".to_owned(),
            one.key(),
            "-".to_owned(),
            one.policy.unwrap_or_default().to_owned(),
            ago::column(one.created, picture.now),
            one.trouble(picture).unwrap_or_default(),
        ],
        address: None,
    });
    rows.collect()
}

fn problems(picture: &Picture, columns: usize) -> Vec<String> {
    let problems = picture.verdict.of(Severity::Problem);
    let all: Vec<_> = problems
        .map(|one| (BAD, "✕", one))
        .chain(
            picture
                .verdict
                .of(Severity::Unknown)
                .map(|one| (WARNING, "?", one)),
        )
        .collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    lines.extend(all.iter().take(LINES).map(|(paint, sign, finding)| {
        let text = crate::terminal::one_line(&finding.sentence(picture.now));
        let text = width::cut(&text, columns.saturating_sub(2));
        format!("{paint}{sign}{paint:#} {text}")
    }));
    if all.len() > LINES {
        lines.push(format!(
            "… {} more: kubectl ferrolb status",
            all.len() - LINES
        ));
    }
    lines
}

fn moved(moves: &Moves, columns: usize) -> Vec<String> {
    let mut lines: Vec<_> = moves
        .iter()
        .take(LINES)
        .map(|one| width::cut(&one.line(), columns))
        .collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}
