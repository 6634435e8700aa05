//! A failing schedule made small: items of its plan are left out as long as the same rule still breaks.

use crate::bugs::Bug;
use crate::plan::Plan;
use crate::run::run_plan;

/// The smallest plan found that breaks `rule`.
pub fn shrink(plan: &Plan, bug: Option<Bug>, rule: &str) -> Plan {
    let breaks = |plan: &Plan| {
        let outcome = run_plan(plan, bug, false);
        outcome.violations.first().is_some_and(|it| it.rule == rule)
    };
    let mut smallest = plan.clone();
    loop {
        let smaller = one_step(&smallest).into_iter().find(|it| breaks(it));
        match smaller {
            Some(it) => smallest = it,
            None => return smallest,
        }
    }
}

/// Every plan that is one step smaller.
fn one_step(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    if plan.predicts {
        plans.push(Plan {
            predicts: false,
            ..plan.clone()
        });
    }
    if plan.jobs.len() > 1 && !plan.predicts {
        let mut fewer = plan.clone();
        fewer.jobs.pop();
        fewer.items.retain(|it| it.job().is_none_or(|it| it == 0));
        plans.push(fewer);
    }
    for n in 0..plan.items.len() {
        let mut without = plan.clone();
        without.items.remove(n);
        plans.push(without);
    }
    for n in 0..plan.jobs.len() {
        if plan.jobs[n] > 1 {
            let mut smaller = plan.clone();
            smaller.jobs[n] -= 1;
            plans.push(smaller);
        }
    }
    plans
}
