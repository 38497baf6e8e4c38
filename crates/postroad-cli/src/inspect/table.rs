//! Columns.

use std::fmt;

use crate::output::plain;

/// Rows under headings. Columns whose heading begins with a space stand to the
/// right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = &self.rows[0];
        let right: Vec<bool> = headings.iter().map(|heading| heading.starts_with(' ')).collect();
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].trim_start().chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&right) {
                let cell = cell.trim_start();
                line += &if *right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["NAME", " COUNT", "REST"]);
        table.row(["ä".into(), "7".into(), String::new()]);
        table.row(["longer".into(), "1234567".into(), "x".into()]);
        assert_eq!(table.to_string(), "NAME      COUNT  REST\nä             7\nlonger  1234567  x\n");
    }
}
