//! What came of all runs together.

use cellmill_tests::show::Figures;

use super::JOBS;
use super::one_run::Ran;
use super::plan::ServerHarm;

/// At least one run in so many makes somebody who wakes after its unit was taken over.
const ZOMBIES_IN: f64 = 10.0;
/// And in so many somebody is caught between its last output and its commit.
const BEFORE_COMMIT_IN: f64 = 10.0;

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    n_runs: usize,
    n_jobs_ended: usize,
    n_same: usize,
    n_problems: usize,
    n_missed: usize,
    n_killed: usize,
    n_frozen: usize,
    n_before_commit: usize,
    n_zombies: usize,
    n_zombies_before_commit: usize,
    n_zombie_commits: usize,
    n_servers_killed: usize,
    n_servers_frozen: usize,
    n_cancelled: usize,
    n_looks: usize,
    most_attempts: u64,
}

impl Tally {
    pub(super) fn add(&mut self, ran: &Ran) {
        self.n_runs += 1;
        self.n_jobs_ended += ran.n_jobs_ended;
        self.n_same += usize::from(ran.tree.is_some() && ran.differences.is_empty());
        self.n_problems += ran.problems.len();
        self.n_missed += ran.n_missed;
        for it in &ran.harmed {
            self.n_killed += usize::from(it.is_killed);
            self.n_frozen += usize::from(!it.is_killed);
            self.n_before_commit += usize::from(it.caught.is_before_commit);
            self.n_zombies += usize::from(it.is_zombie);
            let is_late = it.is_zombie && it.caught.is_before_commit;
            self.n_zombies_before_commit += usize::from(is_late);
        }
        self.n_zombie_commits += ran.n_zombie_commits;
        match ran.server {
            Some(ServerHarm::Kill { .. }) => self.n_servers_killed += 1,
            Some(ServerHarm::Freeze { .. }) => self.n_servers_frozen += 1,
            None => {}
        }
        self.n_cancelled += usize::from(ran.is_cancelled);
        self.n_looks += ran.n_looks;
        self.most_attempts = self.most_attempts.max(ran.most_attempts);
    }

    pub(super) fn print(&self, figures: &mut Figures, n_wanted: usize) {
        figures.exactly("processes.runs", self.n_runs, "runs", n_wanted);
        let n_jobs = JOBS.len() * n_wanted;
        figures.exactly("processes.jobs_ended", self.n_jobs_ended, "jobs", n_jobs);
        let mut told = |name: &str, n: usize, unit: &str| {
            figures.told(&format!("processes.{name}"), n as f64, unit);
        };
        told("workers_killed", self.n_killed, "kills");
        told("workers_frozen", self.n_frozen, "stops");
        told("harms_that_came_too_late", self.n_missed, "harms");
        told("servers_killed", self.n_servers_killed, "kills");
        told("servers_frozen", self.n_servers_frozen, "stops");
        told("cancels_acknowledged", self.n_cancelled, "jobs");
        told(
            "most_attempts",
            self.most_attempts as usize,
            "attempts of a unit",
        );
        told("looks", self.n_looks, "looks at all records");
        let of_runs = |n: f64| (n_wanted as f64 / n).max(1.0);
        figures.at_least(
            "processes.between_last_output_and_commit",
            self.n_before_commit as f64,
            "workers",
            of_runs(BEFORE_COMMIT_IN),
        );
        figures.at_least(
            "processes.zombies",
            self.n_zombies as f64,
            "workers",
            of_runs(ZOMBIES_IN),
        );
        figures.told(
            "processes.zombies_before_their_commit",
            self.n_zombies_before_commit as f64,
            "workers",
        );
        figures.exactly(
            "processes.zombie_commits",
            self.n_zombie_commits,
            "commits",
            0,
        );
        figures.exactly("processes.violations", self.n_problems, "violations", 0);
        figures.exactly(
            "processes.same_as_undisturbed",
            self.n_same,
            "runs",
            n_wanted,
        );
    }
}
