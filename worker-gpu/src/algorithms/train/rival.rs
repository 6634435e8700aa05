//! The model in use, judged by the cells that judge the new one.

use cellmill_core::keys::ObjectKey;
use cellmill_core::metrics::Confusion;
use cellmill_core::model::{Measured, Rival};
use cellmill_core::records::{LabelTypeSettings, Named};
use cellmill_core::training::TrainParameters;
use cellmill_worker::{Context, Failure};

use super::cells::{Loading, Shelf};
use crate::models::ModelError;
use crate::network::{highest, loss};

/// Judges the model of the label type that the training is for. `Err(note)` inside: there is nothing to compare with.
pub(super) async fn judge(
    loading: &Loading<'_>,
    parameters: &TrainParameters,
    test: &Shelf,
    context: &Context,
) -> Result<Option<Result<Rival, String>>, Failure> {
    let Some(label_type) = &parameters.propose_for else {
        return Ok(None);
    };
    let key = ObjectKey::LabelType(label_type.clone());
    let settings = context.store().read::<Named<LabelTypeSettings>>(&key).await;
    let settings =
        settings.map_err(|error| Failure::of_store(format!("could not read `{key}`"), error))?;
    let Some(mid) = settings.and_then(|it| it.value.value.mid) else {
        return Ok(None);
    };
    let skipped = |why: String| Ok(Some(Err(format!("not compared with model {mid}: {why}"))));
    if test.cells.is_empty() {
        return skipped("no cells are kept for the end".to_owned());
    }
    let model = match loading.bench.models.load(context.store(), mid).await {
        Ok(model) => model,
        Err(error @ ModelError::Store { .. }) => return Err(error.failure()),
        Err(error) => {
            let text = error.to_string();
            return skipped(text.lines().next().unwrap_or_default().to_owned());
        }
    };
    // Where its outputs stand among ours.
    let places: Option<Vec<usize>> = model
        .card
        .classes
        .iter()
        .map(|it| parameters.types.iter().position(|class| *class == it.id))
        .collect();
    let Some(places) = places.filter(|it| it.len() == parameters.types.len()) else {
        return skipped("it tells other classes apart".to_owned());
    };
    let side = model.side();
    let read_again;
    let pixels = if side == loading.side {
        test.samples.pixels()
    } else {
        let loading = Loading { side, ..*loading };
        read_again = loading.again(&test.cells, context).await?;
        &read_again
    };
    let rows = loading.bench.compute.run(|| model.logits(pixels));
    let rows =
        rows.map_err(|error| Failure::permanent(format!("model {mid} could not answer"), error))?;
    let ours: Vec<Vec<f32>> = rows.iter().map(|it| in_order(it, &places)).collect();
    let mut confusion = Confusion::new(places.len());
    for (row, &label) in ours.iter().zip(test.samples.labels()) {
        confusion.add(label, highest(row));
    }
    let test = Measured::of(&confusion, loss(&ours, test.samples.labels()));
    Ok(Some(Ok(Rival { mid, test })))
}

/// Its outputs in our order.
fn in_order(row: &[f32], places: &[usize]) -> Vec<f32> {
    let mut ours = vec![0.0; row.len()];
    for (value, &place) in row.iter().zip(places) {
        ours[place] = *value;
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_put_into_our_order() {
        assert_eq!(in_order(&[0.1, 0.2, 0.3], &[2, 0, 1]), [0.2, 0.3, 0.1]);
    }
}
