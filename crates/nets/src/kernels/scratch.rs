//! Memory of a thread that is used again and again, so that a step does not page in fresh memory for each tile.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `body` with so many values of any content. It may be called again inside of `body`, also by another task
/// that this thread runs while it waits there.
pub(crate) fn with_scratch<R>(len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut values = FREE.with_borrow_mut(|it| take(it, len));
    if values.len() < len {
        // What it holds need not be moved.
        values.clear();
        values.resize(len, 0.0);
    }
    let result = body(&mut values[..len]);
    FREE.with_borrow_mut(|it| it.push(values));
    result
}

/// The smallest that is large enough, else the largest.
fn take(free: &mut Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let size = |it: &Vec<f32>| {
        let size = it.len();
        (size < len, size.abs_diff(len))
    };
    let at = (0..free.len()).min_by_key(|at| size(&free[*at]));
    at.map(|at| free.swap_remove(at)).unwrap_or_default()
}
