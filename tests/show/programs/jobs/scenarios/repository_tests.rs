//! Tests of the repository, run by their own commands and counted.

use std::process::Command;

use anyhow::{Result, ensure};
use cellmill_tests::show::Figures;
use cellmill_tests::show::place::say;

use crate::lab::{heard, repository};

/// Runs `program` in the repository and counts the tests that it ran. No test at all is a failure of the scenario.
pub(super) async fn count(
    figures: &mut Figures,
    figure: &str,
    program: &str,
    arguments: &[&str],
) -> Result<()> {
    say(format_args!("  {program} {}", arguments.join(" ")));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository());
    let (code, said) = heard(command).await?;
    let (passed, failed) = counted(&said);
    for line in said.lines().filter(|it| it.ends_with("FAILED")) {
        say(format_args!("  {line}"));
    }
    figures.at_least(&format!("{figure}.passed"), passed as f64, "tests", 1.0);
    figures.exactly(&format!("{figure}.failed"), failed, "tests", 0);
    ensure!(
        code == Some(0) || failed > 0,
        "{program} ended with {code:?}: see above"
    );
    Ok(())
}

/// Passed and failed, over all binaries that ran.
fn counted(said: &str) -> (usize, usize) {
    let results = said
        .lines()
        .filter_map(|it| it.strip_prefix("test result: "));
    results.fold((0, 0), |(passed, failed), line| {
        let of = |name: &str| -> usize {
            let mut words = line.split([' ', ';']).filter(|it| !it.is_empty());
            let mut last = "";
            let found = words.find_map(|word| {
                let number = (word == name).then(|| last.parse().ok());
                last = word;
                number.flatten()
            });
            found.unwrap_or(0)
        };
        (passed + of("passed"), failed + of("failed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_binaries_are_added() {
        let said = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out\n\
            test a ... FAILED\n\
            test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counted(said), (8, 2));
    }
}
