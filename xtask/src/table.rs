//! Text in columns.

/// Returns the rows with each column as wide as its longest cell; a line per row.
pub(crate) fn render(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let width = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
            line += &format!("{cell:<width$}  ");
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// A table with a row and a column for each pair of headings: in `cells` are row, column and text, in order.
pub(crate) fn grid(corner: &str, cells: &[(String, String, String)]) -> String {
    let mut rows = vec![vec![corner.to_owned()]];
    for (heading, column, text) in cells {
        let place = rows[0].iter().position(|it| it == column).unwrap_or_else(|| {
            rows[0].push(column.clone());
            rows[0].len() - 1
        });
        let row = rows.iter().position(|row| row[0] == *heading).unwrap_or_else(|| {
            rows.push(vec![heading.clone()]);
            rows.len() - 1
        });
        let width = rows[row].len().max(place + 1);
        rows[row].resize(width, "-".to_owned());
        rows[row][place].clone_from(text);
    }
    let width = rows[0].len();
    rows.iter_mut().for_each(|row| row.resize(width, "-".to_owned()));
    render(&rows)
}
