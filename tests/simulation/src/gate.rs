//! The process at the gate of its store: what the plan and the planted bugs do to a call, and what the checker sees.

use async_trait::async_trait;
use bytes::Bytes;
use cellmill_core::keys::ObjectKey;
use cellmill_store::fault::{Kind, Operation};
use cellmill_store::gate::{Call, Keeper, Way};

use crate::bugs;
use crate::history::What;
use crate::machine::{Lost, Process};
use crate::plan::{Home, Of};
use crate::world::whole_seconds;

#[async_trait]
impl Keeper for Process {
    async fn comes(&self, call: &mut Call) -> Way {
        let of = kinds(call);
        let (counted, error) = self.before(&of).await;
        self.world.state().counts.store_calls += 1;
        if error.is_some() {
            self.world
                .tell(Some(self.machine), || What::refused(call, counted.clone()));
        }
        match error {
            None => bugs::on_the_way_in(self, call),
            Some(Lost::Answered(kind)) => Way::Back(fitting(kind, call.operation)),
            Some(Lost::OnItsWay(late)) => Way::Late(late),
        }
    }

    async fn done(&self, call: &Call, is_done: bool, body: &mut Option<Bytes>) -> Option<Kind> {
        if self.world.plan.home == Home::Bucket {
            self.clock
                .heard(whole_seconds(self.world.now()), self.monotonic());
        }
        self.came(call, is_done);
        bugs::on_the_way_out(self, call, body);
        let counted = self.counted(call);
        let kind = match self.after(&counted).await? {
            Lost::Answered(kind) => fitting(kind, call.operation),
            Lost::OnItsWay(_) => Kind::Unavailable,
        };
        bugs::on_lost_answer(self, call, kind);
        Some(kind)
    }

    async fn landed(&self, call: &Call, is_done: bool) {
        let told = || What::Note("a write given up for lost arrives".to_owned());
        self.world.tell(Some(self.machine), told);
        self.came(call, is_done);
    }
}

impl Process {
    /// A call came to the store, and was done or refused.
    fn came(&self, call: &Call, is_done: bool) {
        let at = self.world.elapsed();
        {
            let mut state = self.world.state();
            let state = &mut *state;
            let (history, machines) = (&mut state.history, &state.machines);
            history.tell(at, Some(self.machine), || What::call(call, is_done));
            let before = state.check.violations.len();
            let line = state.check.store_call(self, machines, at, call, is_done);
            if let Some(line) = line {
                history.tell(at, Some(self.machine), || What::Changed(line));
            }
            for broken in &state.check.violations[before..] {
                history.tell(at, None, || What::Violation(broken.to_string()));
            }
        }
        if is_done && call.body.is_some() {
            self.world.changed.notify_waiters();
        }
    }

    /// How many calls of its kinds came by now.
    fn counted(&self, call: &Call) -> Vec<(Of, u32)> {
        let state = self.world.state();
        let calls = &state.machines[self.machine].calls;
        kinds(call)
            .into_iter()
            .map(|of| (of, calls[of as usize]))
            .collect()
    }
}

/// 409 and 412 are answers to writes only.
fn fitting(kind: Kind, operation: Operation) -> Kind {
    match operation {
        Operation::Create | Operation::Update | Operation::Overwrite => kind,
        _ => Kind::Unavailable,
    }
}

fn kinds(call: &Call) -> Vec<Of> {
    let of = match call.operation {
        Operation::Get | Operation::List => Of::Read,
        _ => match ObjectKey::parse(&call.key) {
            Ok(Some(ObjectKey::Unit(_))) => Of::UnitWrite,
            Ok(Some(key)) if crate::check::job_of(&key).is_some() => Of::JobWrite,
            _ => Of::FileWrite,
        },
    };
    vec![Of::Any, of]
}
