//! Tables as kubectl prints them.

use std::io::{self, Write};

use crate::terminal::one_line;

/// Blanks between two columns, as many as kubectl puts there.
const GAP: usize = 3;
/// A cell of more characters is cut: it could be as long as an object may be, and would make every
/// row as wide. `-o json` has all of it.
const WIDEST: usize = 120;

/// Prints `rows`, the first one being the head, with columns as wide as their widest cell.
pub(crate) fn print<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| cut(&one_line(&row[column]))))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0) + GAP);
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What fits of a list in a cell, with how many more there are.
pub(crate) fn list(items: &[String], separator: &str) -> String {
    let all = items.join(separator);
    if all.chars().count() <= WIDEST {
        return all;
    }
    // Room for the words about the rest.
    let mut room = WIDEST - 30;
    let fit = items.iter().take_while(|item| {
        let length = item.chars().count() + separator.len();
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

fn cut(cell: &str) -> String {
    if cell.chars().count() <= WIDEST {
        return cell.to_owned();
    }
    cell.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(rows: &[[String; 2]]) -> String {
        let mut out = Vec::new();
        print(&mut out, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cell_as_long_as_an_object_may_be_is_cut() {
        let rows = [["a".to_owned(), "x".repeat(1 << 20)]];
        assert_eq!(printed(&rows), format!("a   {}…\n", "x".repeat(WIDEST - 1)));
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
            prop_assert_eq!(printed(&rows).matches('\n').count(), rows.len());
            list(&lists, ", ");
        }
    }
}
