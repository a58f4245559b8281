//! `forebay completions` and `forebay man`: what packages install beside the program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _, ValueEnum};

use super::failure::code;
use super::{Failure, args, out};

/// For which shell.
#[derive(Debug, clap::Args)]
#[command(before_help = COMPLETIONS)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const COMPLETIONS: &str = "\
Examples:
  source <(forebay completions bash)
  forebay completions zsh > \"${fpath[1]}/_forebay\"
  forebay completions fish > ~/.config/fish/completions/forebay.fish";

/// The shells that have a script.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl CompletionsArgs {
    pub(super) fn run(&self) -> ExitCode {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut args::Args::command(), "forebay", &mut script);
        let _read = out::bytes(&script);
        ExitCode::SUCCESS
    }
}

/// Where to.
#[derive(Debug, clap::Args)]
#[command(before_help = MAN)]
pub(super) struct ManArgs {
    /// A folder for one page a command; without it, forebay(1) is printed
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

const MAN: &str = "\
Examples:
  forebay man | man -l -
  forebay man /usr/local/share/man/man1";

impl ManArgs {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let pages = pages();
        let Some(folder) = &self.folder else {
            if let Some((_, text)) = pages.first() {
                let _read = out::bytes(text);
            }
            return Ok(ExitCode::SUCCESS);
        };
        for (name, text) in pages {
            write(&folder.join(name), &text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text)).map_err(|error| {
        Failure::new(code::CANNOT_CREATE, format!("{}: {error}", path.display()))
            .advise("name a folder that you may write to")
    })
}

/// Every page with its file name, `forebay.1` first.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut program = args::Args::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, "forebay", &mut pages);
    pages
}

fn add(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut shown = command.clone().name(name.to_owned()).display_name(name).version(env!("CARGO_PKG_VERSION"));
    // The examples come first in the help; a page has them at its end, in the one place that the generator prints as it is.
    if let Some(examples) = command.get_before_help().cloned() {
        shown = shown.after_help(examples);
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    drop(clap_mangen::Man::new(shown).render(&mut text));
    pages.push((format!("{name}.1"), text));
    for part in command.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help") {
        add(part, &format!("{name}-{}", part.get_name()), pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let pages = pages();
        let page = |name: &str| {
            let (_, text) = pages.iter().find(|(page, _)| page == name).unwrap_or_else(|| panic!("no {name}"));
            String::from_utf8_lossy(text).into_owned()
        };
        assert_eq!(pages[0].0, "forebay.1");
        assert!(page("forebay.1").contains("forebay\\-agent(1)"), "{}", page("forebay.1"));
        let agent = page("forebay-agent.1");
        for wanted in [".TH forebay-agent 1", "\\-\\-drain", "FOREBAY_DATASOURCES", "forebay agent orders.toml"] {
            assert!(agent.contains(wanted), "no {wanted:?} in:\n{agent}");
        }
        assert!(page("forebay-kafka-topics.1").contains("\\-\\-create"));
    }
}
