//! `simulate-jobs`: many schedules, the planted bugs, or one seed told line by line.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cellmill_simulation::bugs::Bug;
use cellmill_simulation::coverage::{JOBS, UNITS};
use cellmill_simulation::plan::Plan;
use cellmill_simulation::report::{Report, find, run};
use cellmill_simulation::run_plan;
use cellmill_simulation::shrink::shrink;
use clap::Parser;

/// Runs the job machinery in virtual time under many seeds, and checks what must never happen.
#[derive(Debug, Parser)]
struct Args {
    #[arg(value_enum, default_value_t = Show::Schedules)]
    show: Show,
    /// How many schedules
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads, each with schedules of its own
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// With the planted bug of this number only, from 0
    #[arg(long)]
    bug: Option<usize>,
    /// Leave out first whatever the failure does not need
    #[arg(long)]
    shrink: bool,
    /// Write the report as JSON to standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Show {
    /// What came of many schedules
    Schedules,
    /// How soon each planted bug is found
    Bugs,
    /// The schedule of the seed, line by line
    Seed,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let bug = args.bug.and_then(|it| Bug::ALL.get(it).copied());
    let done = match args.show {
        Show::Seed => tell(&args, bug),
        Show::Bugs => bugs(&args, bug),
        Show::Schedules => schedules(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(args: &Args, bug: Option<Bug>) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    let mut plan = Plan::draw(args.seed);
    if args.shrink
        && let Some(first) = run_plan(&plan, bug, false).violations.first()
    {
        plan = shrink(&plan, bug, first.rule);
    }
    let outcome = run_plan(&plan, bug, true);
    writeln!(
        out,
        "seed {}: {:?}, jobs of {:?} units, window {}, prediction: {}",
        plan.seed, plan.home, plan.jobs, plan.window, plan.predicts
    )?;
    for (item, is_taken) in plan.items.iter().zip(&outcome.taken) {
        let mark = if *is_taken { "*" } else { " " };
        writeln!(out, "{mark} {item:?}")?;
    }
    for event in &outcome.history {
        writeln!(out, "{event}")?;
    }
    for broken in &outcome.violations {
        writeln!(out, "VIOLATION {broken}")?;
    }
    writeln!(
        out,
        "{} store calls, {} queue calls, {} faults",
        outcome.counts.store_calls, outcome.counts.queue_calls, outcome.counts.faults
    )?;
    Ok(outcome.violations.is_empty())
}

fn bugs(args: &Args, only: Option<Bug>) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    let mut all = true;
    for bug in Bug::ALL
        .into_iter()
        .filter(|it| only.is_none_or(|only| only == *it))
    {
        let found = find(bug, args.seed, args.schedules, args.threads);
        all &= found.after.is_some();
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&found)?)?;
        } else {
            let after = found
                .after
                .map_or("not found".to_owned(), |it| format!("{it} schedules"));
            let rule = found.rule.unwrap_or_default();
            writeln!(out, "{:<52} {after:>18}  {rule}", found.name)?;
        }
        out.flush()?;
    }
    Ok(all)
}

fn schedules(args: &Args) -> std::io::Result<bool> {
    let (began, shown) = (Instant::now(), Mutex::new(Instant::now()));
    let report = run(args.schedules, args.seed, args.threads, |n| {
        let Ok(mut shown) = shown.lock() else { return };
        if shown.elapsed() > Duration::from_secs(2) {
            *shown = Instant::now();
            let elapsed = began.elapsed().as_secs_f64();
            let left = elapsed * (args.schedules - n.min(args.schedules)) as f64 / n as f64;
            let _ = write!(
                std::io::stderr(),
                "\r{n} of {} schedules, {left:.0} s left ",
                args.schedules
            );
        }
    });
    let _ = writeln!(std::io::stderr());
    print(args, &report)?;
    Ok(report.n_failed == 0 && report.missing.is_empty())
}

fn print(args: &Args, report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        return writeln!(out, "{}", serde_json::to_string(report)?);
    }
    writeln!(out, "{}", JOBS.print(&report.jobs).0)?;
    writeln!(out, "{}", UNITS.print(&report.units).0)?;
    for it in &report.missing {
        writeln!(out, "never met: {it}")?;
    }
    for it in &report.failed {
        writeln!(out, "seed {}: {}", it.seed, it.what)?;
    }
    writeln!(
        out,
        "{} schedules in {:.1} s: {} broke a rule; in the middle {} store calls, {} faults, {} virtual s; {:.1} % with two faults or more",
        report.schedules,
        report.seconds,
        report.n_failed,
        report.median_calls,
        report.median_faults,
        report.median_virtual_s,
        100.0 * report.share_of_two_faults
    )
}
