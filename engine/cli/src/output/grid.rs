//! Columns for people: left-aligned, two spaces apart, no lines around them. Deliberately not here: colours.

use comfy_table::{ContentArrangement, Table, presets};

use super::plain;

/// Rows under a header; the text ends with a newline.
#[must_use]
pub fn grid(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = empty();
    table.set_header(header.to_vec());
    add_rows(&mut table, rows);
    text(&table)
}

/// Names and values, without a header.
#[must_use]
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = empty();
    add_rows(
        &mut table,
        pairs
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value]),
    );
    text(&table)
}

/// What stands for a missing value.
#[must_use]
pub fn or_dash(value: &str) -> String {
    if value.is_empty() {
        "-".to_owned()
    } else {
        value.to_owned()
    }
}

fn empty() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn add_rows(table: &mut Table, rows: impl IntoIterator<Item = Vec<String>>) {
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

fn text(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let text = grid(
            &["ID", "STATE"],
            [
                vec!["1".into(), "running".into()],
                vec!["22222".into(), or_dash("")],
            ],
        );
        assert_eq!(text, "ID     STATE\n1      running\n22222  -\n");
        assert_eq!(
            pairs([("a", "1".into()), ("long", "2".into())]),
            "a     1\nlong  2\n"
        );
    }
}
