//! What goes to stdout: lines, columns, or one JSON document. A closed pipe is no error.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::exit::Exit;
use crate::model::text::escape;

/// Writes to stdout. If the reader has closed the pipe (`| head`), the text is dropped without an error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Writes a line to stderr, as `eprintln!` does; but a closed pipe is no error.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}
pub(super) use say;

pub(super) fn line(text: fmt::Arguments<'_>) {
    // There is nowhere left to say that it failed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Exactly one JSON document.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// A JSON document that begins with a list, made piece by piece: all of it may be more than fits into memory.
pub(super) struct JsonList {
    name: &'static str,
    begun: bool,
}

impl JsonList {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, begun: false }
    }

    /// The next element.
    pub(super) fn element(&mut self, element: &impl Serialize) -> anyhow::Result<String> {
        let begin = if self.begun { ",\n".to_owned() } else { format!("{{\"{}\": [\n", self.name) };
        self.begun = true;
        Ok(begin + &serde_json::to_string(element)?)
    }

    /// The end, with the members of `rest`, of which there is at least one.
    pub(super) fn end(self, rest: &impl Serialize) -> anyhow::Result<String> {
        let list = if self.begun { "\n]".to_owned() } else { format!("{{\"{}\": []", self.name) };
        let rest = serde_json::to_string_pretty(rest)?;
        Ok(format!("{list},{}\n", rest.trim_start_matches('{')))
    }

    /// The end after a failure: nothing, if there was no element.
    pub(super) fn broken_off(&self) -> &'static str {
        if self.begun { "\n]}\n" } else { "" }
    }
}

/// Prints rows in columns as wide as their widest cell, with control characters escaped; the last column is not padded. A
/// crate for tables would replace no more than these lines.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> anyhow::Result<()> {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| escape(cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    print(&rows.iter().map(line).collect::<String>())
}

/// A line of progress, on a terminal only: in a log file it would be noise.
pub(super) fn bar(template: &str) -> ProgressBar {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Whether there is somebody to ask.
pub(super) fn asks() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes a question to stderr. As with [`say`], a closed pipe is no error.
pub(super) fn prompt(question: &str) {
    let _ = write!(io::stderr(), "{question} ");
}

/// Asks a question, and returns the line that is the answer.
pub(super) fn ask(question: &str) -> anyhow::Result<String> {
    prompt(question);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    anyhow::ensure!(!line.is_empty(), "there was no answer, so nothing was done");
    Ok(line.trim().to_owned())
}

/// Asks whether to do it. Everything but yes means no.
pub(super) fn confirm(question: &str) -> anyhow::Result<bool> {
    let answer = ask(&format!("{question} [y/N]"))?;
    Ok(["y", "yes"].contains(&answer.to_lowercase().as_str()))
}

/// Whether something that cannot be undone may be done: `--yes` says so, else the answer on a terminal. If not, says what
/// to do; the result is the exit code then.
pub(super) fn allowed(yes: bool, what: &str) -> anyhow::Result<Result<(), Exit>> {
    if yes {
        return Ok(Ok(()));
    }
    if !asks() {
        say!("course-sharing: {what}; give --yes, as there is no terminal to ask on");
        return Ok(Err(Exit::Usage));
    }
    if confirm(&format!("{what}. Go on?"))? {
        return Ok(Ok(()));
    }
    say!("nothing was done");
    Ok(Err(Exit::Failed))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_list_of_any_length_is_one_document_however_it_ends() {
        for count in 0..3 {
            let mut list = JsonList::new("all");
            let printed: String = (0..count).map(|number| list.element(&number).unwrap()).collect();
            let numbers: Vec<u64> = (0..count).collect();
            let broken_off = printed.clone() + list.broken_off();
            if count == 0 {
                assert_eq!(broken_off, "");
            } else {
                let document: Value = serde_json::from_str(&broken_off).unwrap();
                assert_eq!(document, json!({ "all": numbers }));
            }
            let whole = printed + &list.end(&json!({ "total": count, "of": {} })).unwrap();
            let document: Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(document, json!({ "all": numbers, "total": count, "of": {} }));
        }
    }
}
