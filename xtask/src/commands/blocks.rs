//! [`Page`]: the commands of a page: blocks of bash, and code in sentences that begins like a command of ours.

/// Before a block that is run: `<!-- run with everything, prints TEXT -->`.
const MARK: &str = "<!-- run with everything, prints ";

/// Code in a sentence that is checked begins with one of these.
const OURS: [&str; 4] = ["cargo xtask ", "cargo run ", "everything --", "mcp-session-gateway "];

/// A page, and its commands by line number.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) name: String,
    pub(super) blocks: Vec<Block>,
    pub(super) inline: Vec<(usize, String)>,
}

/// A block of bash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) text: String,
    /// If it is run, what it has to print.
    pub(super) prints: Option<String>,
}

impl Page {
    pub(super) fn parse(name: String, text: &str) -> Page {
        let mut page = Page { name, ..Page::default() };
        let (mut fence, mut prints) = (None::<bool>, None);
        for (number, line) in (1..).zip(text.lines()) {
            match (line.trim_start().strip_prefix("```"), fence) {
                (Some(language), None) => {
                    let is_bash = matches!(language.trim(), "bash" | "sh" | "console");
                    fence = Some(is_bash);
                    if is_bash {
                        let (line, prints) = (number, prints.take());
                        page.blocks.push(Block { line, text: String::new(), prints });
                    }
                }
                (Some(_), Some(_)) => fence = None,
                (None, Some(true)) => {
                    let block = page.blocks.last_mut().expect("a fence has opened it");
                    block.text += line;
                    block.text.push('\n');
                }
                (None, Some(false)) => {}
                (None, None) => {
                    if let Some(text) = line.strip_prefix(MARK) {
                        prints = Some(text.trim_end().trim_end_matches("-->").trim().to_owned());
                    }
                    let code = line.split('`').skip(1).step_by(2);
                    let ours = code.filter(|code| OURS.iter().any(|it| code.starts_with(it)));
                    page.inline.extend(ours.map(|code| (number, code.to_owned())));
                }
            }
        }
        page
    }
}

/// The lines of the doc comment at the top of a file, at their places.
pub(super) fn doc_comment(source: &str) -> String {
    source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_bash_and_code_in_sentences_are_found_and_nothing_else() {
        let text = "Run `cargo xtask sim`, not `sim`.\n<!-- run with everything, prints \"id\":2 -->\n```bash\na \\\n  b\n```\n\
            ```text\n`cargo xtask x`\n```\n```bash\nc\n```\n";
        let page = Page::parse("x.md".to_owned(), text);
        assert_eq!(page.inline, [(1, "cargo xtask sim".to_owned())]);
        let block = |line, text: &str, prints: Option<&str>| Block {
            line,
            text: text.to_owned(),
            prints: prints.map(str::to_owned),
        };
        assert_eq!(page.blocks, [block(3, "a \\\n  b\n", Some("\"id\":2")), block(10, "c\n", None)]);
        assert_eq!(doc_comment("//! Run with `x`\n//!\nuse a;\n//! no\n"), " Run with `x`\n\n");
    }
}
