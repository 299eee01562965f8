//! Tables for people.

/// Rows under a heading, with what they were measured under.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Prints the heading and the conditions at once, so that a reader sees what is going on.
    pub fn begin(heading: &str, conditions: &[String], columns: &[&str]) -> Self {
        println!("\n{heading}");
        for condition in conditions {
            println!("  {condition}");
        }
        Self { rows: vec![columns.iter().map(|&column| column.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// Texts to the left, numbers to the right.
    pub fn print(self) {
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = width(column).unwrap_or(0);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("  | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
}
