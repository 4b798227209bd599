//! Tables as kubectl prints them, folded to the terminal's width.

use std::io::{self, Write};

use crate::terminal::{Paint, one_line};
use crate::width;

/// Blanks between two columns, as many as kubectl puts there.
const GAP: usize = 3;
/// The same where every column is needed.
const NARROW_GAP: usize = 1;
/// A cell of more columns is cut: it could be as long as an object may be, and would make every
/// row as wide. `-o json` has all of it.
const WIDEST: usize = 120;
/// A column is not folded to less than this, or than its head.
const NARROWEST: usize = 9;

/// Colours of a table's cells: they mark what its word says already.
pub(crate) type Marks<'a> = &'a dyn Fn(&str) -> Option<Paint>;

/// Prints `rows`, the first one being the head, with columns as wide as their widest cell; on a terminal
/// that is too narrow for them long cells are folded.
pub(crate) fn print<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    print_marked(out, rows, &|_| None)
}

/// The same; cells have the colour that `marks` gives to their text.
pub(crate) fn print_marked<const N: usize>(
    out: &mut impl Write,
    rows: &[[String; N]],
    marks: Marks<'_>,
) -> io::Result<()> {
    print_within(out, rows, marks, width::of_terminal())
}

/// The same, in so many columns; `None`: in as many as it takes.
pub(crate) fn print_within<const N: usize>(
    out: &mut impl Write,
    rows: &[[String; N]],
    marks: Marks<'_>,
    within: Option<usize>,
) -> io::Result<()> {
    for line in lines_within(rows, marks, within) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The lines of such a table.
pub(crate) fn lines_within<const N: usize>(
    rows: &[[String; N]],
    marks: Marks<'_>,
    within: Option<usize>,
) -> Vec<String> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| width::cut(&one_line(&row[column]), WIDEST)))
        .collect();
    let (widths, gap) = widths(&rows, within);
    let mut lines = Vec::new();
    for row in &rows {
        let cells: [Vec<String>; N] =
            std::array::from_fn(|column| width::folded(&row[column], widths[column]));
        let paints: [_; N] = std::array::from_fn(|column| marks(&row[column]));
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..height {
            let mut line = String::new();
            // Blanks are written only before something that stands behind them.
            let mut blanks = 0;
            for (column, cell) in cells.iter().enumerate() {
                let text = cell.get(number).map_or("", String::as_str);
                if !text.is_empty() {
                    line.extend(std::iter::repeat_n(' ', blanks));
                    blanks = 0;
                    match paints[column] {
                        Some(paint) => line.push_str(&format!("{paint}{text}{paint:#}")),
                        None => line.push_str(text),
                    }
                }
                blanks += widths[column].saturating_sub(width::of(text)) + gap;
            }
            lines.push(line);
        }
    }
    lines
}

/// The lines of such a table with one line for each row: what does not fit is cut.
pub(crate) fn cut_within<const N: usize>(
    rows: &[[String; N]],
    marks: Marks<'_>,
    within: usize,
) -> Vec<String> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| width::cut(&one_line(&row[column]), WIDEST)))
        .collect();
    let (widths, gap) = widths(&rows, Some(within));
    let line = |row: &[String; N]| {
        let mut line = String::new();
        let mut left = within;
        for (column, cell) in row.iter().enumerate() {
            let room = widths[column].min(left);
            if room == 0 {
                break;
            }
            let text = width::padded(&width::cut(cell, room), room);
            match marks(cell) {
                Some(paint) => line.push_str(&format!("{paint}{text}{paint:#}")),
                None => line.push_str(&text),
            }
            left -= room;
            let gap = gap.min(left);
            line.extend(std::iter::repeat_n(' ', gap));
            left -= gap;
        }
        line
    };
    rows.iter().map(line).collect()
}

/// Of each column, and of the gaps between them.
fn widths<const N: usize>(rows: &[[String; N]], within: Option<usize>) -> ([usize; N], usize) {
    let natural = |column: usize| rows.iter().map(|row| width::of(&row[column])).max();
    let mut widths: [usize; N] = std::array::from_fn(|column| natural(column).unwrap_or(0).max(1));
    let Some(within) = within else {
        return (widths, GAP);
    };
    let needed =
        |widths: &[usize; N], gap: usize| widths.iter().sum::<usize>() + gap * N.saturating_sub(1);
    if needed(&widths, GAP) <= within {
        return (widths, GAP);
    }
    let least: [usize; N] = std::array::from_fn(|column| {
        let head = rows.first().map_or(0, |head| width::of(&head[column]));
        head.max(NARROWEST).min(widths[column])
    });
    while needed(&widths, NARROW_GAP) > within {
        let widest = (0..N)
            .filter(|column| widths[*column] > least[*column])
            .max_by_key(|column| widths[*column]);
        let Some(widest) = widest else { break };
        widths[widest] -= 1;
    }
    (widths, NARROW_GAP)
}

/// What fits of a list in a cell, with how many more there are.
pub(crate) fn list(items: &[String], separator: &str) -> String {
    let all = items.join(separator);
    if width::of(&all) <= WIDEST {
        return all;
    }
    // Room for the words about the rest.
    let mut room = WIDEST - 30;
    let fit = items.iter().take_while(|item| {
        let length = width::of(item) + separator.len();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    });
    let fit = fit.count().max(1).min(items.len());
    let more = items.len() - fit;
    if more == 0 {
        return all;
    }
    format!("{} and {more} more", items[..fit].join(separator))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed<const N: usize>(rows: &[[String; N]], within: Option<usize>) -> String {
        let mut out = Vec::new();
        print_within(&mut out, rows, &|_| None, within).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cell_as_long_as_an_object_may_be_is_cut() {
        let rows = [["a".to_owned(), "x".repeat(1 << 20)]];
        assert_eq!(
            printed(&rows, None),
            format!("a   {}…\n", "x".repeat(WIDEST - 1))
        );
    }

    #[test]
    fn on_a_narrow_terminal_the_widest_columns_are_folded() {
        let rows = [
            ["NAME", "ADDRESSES", "REASON"].map(str::to_owned),
            ["web", "192.168.64.240,fd00:64::1", "-"].map(str::to_owned),
            ["worker", "<pending>", "requested_address_outside_pools"].map(str::to_owned),
        ];
        assert_eq!(printed(&rows, Some(80)), printed(&rows, None));
        insta::assert_snapshot!(printed(&rows, Some(40)), @r"
        NAME   ADDRESSES        REASON
        web    192.168.64.240,  -
               fd00:64::1
        worker <pending>        requested_addres
                                s_outside_pools
        ");
        // Narrower than any of it can be: as narrow as it gets.
        assert!(printed(&rows, Some(5)).lines().count() > 4);
    }

    #[test]
    fn of_a_long_list_the_first_are_shown_and_the_others_counted() {
        let ranges: Vec<_> = (0..7000)
            .map(|n| format!("10.0.{}.{}", n / 256, n % 256))
            .collect();
        let shown = list(&ranges, ", ");
        assert!(shown.starts_with("10.0.0.0, 10.0.0.1, "), "{shown}");
        assert!(shown.ends_with(" more"), "{shown}");
        assert!(shown.chars().count() <= WIDEST, "{shown}");
        assert_eq!(list(&ranges[..2], ", "), "10.0.0.0, 10.0.0.1");
    }

    proptest! {
        #[test]
        fn whatever_is_in_it_a_table_has_a_line_for_each_row(
            rows in prop::collection::vec(prop::array::uniform2(".{0,300}"), 0..4),
            lists in prop::collection::vec(".{0,200}", 0..20),
        ) {
            // Unicode has more line breaks than Rust's `lines` knows.
            prop_assert_eq!(printed(&rows, None).matches('\n').count(), rows.len());
            list(&lists, ", ");
        }

        #[test]
        fn where_it_can_fit_it_does(
            rows in prop::collection::vec(prop::array::uniform3("[a-z ,日]{0,40}"), 1..4),
            within in 40_usize..200,
        ) {
            for line in printed(&rows, Some(within)).lines() {
                // The first row is the head, which is never folded.
                let head: usize = rows[0].iter().map(|cell| width::of(cell).max(NARROWEST)).sum();
                prop_assert!(width::of(line) <= within.max(head + 2 * NARROW_GAP), "{line:?}");
            }
        }
    }
}
