//! Where the time of a training went: the report's figures, and a trace for a viewer.

use cellmill_core::model::{ProfilePart, TrainProfile};
use serde_json::{Value, json};

use crate::cells::ReadTimes;
use crate::learning::{Part, Profile, TraceEvent};

/// The figures of the report.
pub(super) fn figures(profile: &Profile, read: ReadTimes) -> TrainProfile {
    let part = |name: &str, took: std::time::Duration, beside: bool| ProfilePart {
        name: name.to_owned(),
        seconds: took.as_secs_f64(),
        beside,
    };
    let mut parts = vec![
        part("read", read.reading, false),
        part("decode", read.decoding, false),
    ];
    parts.extend(Part::ALL.map(|it| part(it.as_str(), profile.of(it), it == Part::Augment)));
    let seconds = (read.reading + read.decoding + profile.looped()).as_secs_f64();
    let rate = |seconds: f64| {
        if seconds > 0.0 {
            profile.pictures as f64 / seconds
        } else {
            0.0
        }
    };
    TrainProfile {
        parts,
        pictures: profile.pictures,
        steps: profile.steps,
        seconds,
        images_per_s: rate(seconds),
        compute_only_images_per_s: rate(profile.computed().as_secs_f64()),
    }
}

/// `trace.json` in the form that `chrome://tracing` and Perfetto open: complete events in microseconds, the network and
/// what goes on beside it in rows of their own.
pub(super) fn trace(events: &[TraceEvent]) -> Vec<u8> {
    const NETWORK: u32 = 1;
    const BESIDE: u32 = 2;
    let row = |tid: u32, name: &str| json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}});
    let mut all: Vec<Value> = vec![row(NETWORK, "network"), row(BESIDE, "next batch")];
    all.extend(events.iter().map(|it| {
        json!({
            "name": it.part.as_str(),
            "ph": "X",
            "ts": it.at.as_secs_f64() * 1e6,
            "dur": it.took.as_secs_f64() * 1e6,
            "pid": 1,
            "tid": if it.part == Part::Augment { BESIDE } else { NETWORK },
            "args": {"epoch": it.epoch, "step": it.step + 1},
        })
    }));
    let whole = json!({"displayTimeUnit": "ms", "traceEvents": all});
    serde_json::to_vec(&whole).expect("a trace holds nothing that JSON can't")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_trace_has_a_row_for_the_network_and_one_for_what_is_beside_it() {
        let event = |part: Part, at_us: u64| TraceEvent {
            part,
            epoch: 2,
            step: 7,
            at: Duration::from_micros(at_us),
            took: Duration::from_micros(30),
        };
        let events = [event(Part::Forward, 100), event(Part::Augment, 110)];
        let bytes = trace(&events);
        let whole: Value = serde_json::from_slice(&bytes).unwrap();
        let rows: Vec<_> = whole["traceEvents"].as_array().unwrap().iter().collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[2]["name"], "forward");
        assert_eq!(
            (&rows[2]["ph"], &rows[2]["args"]["step"]),
            (&json!("X"), &json!(8))
        );
        assert!((rows[2]["ts"].as_f64().unwrap() - 100.0).abs() < 1e-6);
        assert!((rows[3]["dur"].as_f64().unwrap() - 30.0).abs() < 1e-6);
        assert_ne!(rows[2]["tid"], rows[3]["tid"]);
    }

    #[test]
    fn nothing_learned_is_no_rate() {
        let it = figures(&Profile::default(), ReadTimes::default());
        assert_eq!((it.images_per_s, it.compute_only_images_per_s), (0.0, 0.0));
        let names: Vec<&str> = it.parts.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names.len(), 8);
        assert!(
            it.parts
                .iter()
                .all(|it| it.beside == (it.name == "augment"))
        );
    }
}
