//! Tables as kubectl prints them.

use std::io::{self, Write};

/// Blanks between two columns, as many as kubectl puts there.
const GAP: usize = 3;

/// Prints `rows`, the first one being the head, with columns as wide as their widest cell.
pub(crate) fn print<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0) + GAP);
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<String>().trim_end())?;
    }
    Ok(())
}
