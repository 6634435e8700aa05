//! Reading and writing candle tensors as slices, and keeping them for the next step.

use candle_core::{
    CpuStorage, DType, Error, InplaceOp1, Layout, Result, Storage, StorageRef, Tensor, TensorId,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Deref, Range};

/// The values of a tensor: borrowed from the processor's memory, or copied from a card.
pub(crate) enum Values<'a> {
    Here(StorageRef<'a>, Range<usize>),
    Copied(Vec<f32>),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Copied(values) => values,
            Self::Here(storage, range) => match &**storage {
                Storage::Cpu(CpuStorage::F32(values)) => &values[range.clone()],
                _ => unreachable!("`read` looked"),
            },
        }
    }
}

/// The values of a contiguous `f32` tensor.
pub(crate) fn read(tensor: &Tensor) -> Result<Values<'_>> {
    if !tensor.device().is_cpu() {
        return Ok(Values::Copied(tensor.flatten_all()?.to_vec1()?));
    }
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        return Err(Error::Msg(
            "these layers compute with f32 on the processor".to_owned(),
        ));
    }
    let (start, end) = contiguous(layout)?;
    Ok(Values::Here(storage, start..end))
}

fn contiguous(layout: &Layout) -> Result<(usize, usize)> {
    layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("a layer's values are contiguous".to_owned()))
}

/// Runs `body` on the values of a tensor, which it may change in place. Every handle to the tensor sees the
/// change, so only a tensor that its layer owns goes in here.
pub(crate) fn write<R>(tensor: &Tensor, body: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    let op = Write {
        body: RefCell::new(Some(body)),
        result: RefCell::new(None),
    };
    tensor.inplace_op1(&op)?;
    Ok(op
        .result
        .into_inner()
        .expect("an op that succeeded was run"))
}

/// Candle's door to changing values in place.
struct Write<F, R> {
    body: RefCell<Option<F>>,
    result: RefCell<Option<R>>,
}

impl<R, F: FnOnce(&mut [f32]) -> R> InplaceOp1 for Write<F, R> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(values) = storage else {
            return Err(Error::Msg("these layers compute with f32".to_owned()));
        };
        let (start, end) = contiguous(layout)?;
        let body = self.body.take().expect("an op is run once");
        self.result.replace(Some(body(&mut values[start..end])));
        Ok(())
    }

    /// There and back: for what is done once, such as loading a model. Layers compute on the card.
    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut candle_core::CudaStorage, layout: &Layout) -> Result<()> {
        use candle_core::backend::BackendStorage as _;
        let (start, end) = contiguous(layout)?;
        let device = storage.device().clone();
        let slice = storage.as_cuda_slice_mut::<f32>()?;
        let mut values = device.clone_dtoh(slice)?;
        let body = self.body.take().expect("an op is run once");
        self.result.replace(Some(body(&mut values[start..end])));
        device.memcpy_htod(&values, slice)
    }
}

/// Fills a tensor whose content nobody reads: on a card, without fetching what is there.
pub(crate) fn fill(tensor: &mut Tensor, body: impl FnOnce(&mut [f32])) -> Result<()> {
    if tensor.device().is_cpu() {
        return write(tensor, body);
    }
    let mut values = vec![0.0; tensor.elem_count()];
    body(&mut values);
    *tensor = Tensor::from_vec(values, tensor.shape(), tensor.device())?;
    Ok(())
}

/// Tensors that are free to be written over. A step asks for the same sizes as the one before it, so after
/// the first step nothing is allocated and no fresh page is touched.
#[derive(Debug, Default)]
pub struct Buffers {
    free: HashMap<usize, Vec<Tensor>>,
    /// Tensors that somebody reads on, whoever gives them back, and whether one was given back meanwhile.
    held: Vec<(TensorId, bool)>,
    made_bytes: u64,
}

impl Buffers {
    /// A tensor of this shape with any content.
    pub fn take(&mut self, shape: &[usize], device: &candle_core::Device) -> Result<Tensor> {
        let n: usize = shape.iter().product();
        if let Some(tensor) = self.free.get_mut(&n).and_then(Vec::pop) {
            return tensor.reshape(shape);
        }
        self.made_bytes += (n * size_of::<f32>()) as u64;
        Tensor::zeros(shape, DType::F32, device)
    }

    /// Bytes of all tensors that were made because none was free.
    pub(crate) const fn made_bytes(&self) -> u64 {
        self.made_bytes
    }

    /// Gives back a tensor that nobody reads any more.
    pub fn give(&mut self, tensor: Tensor) {
        if let Some((_, given)) = self.held.iter_mut().rfind(|(it, _)| *it == tensor.id()) {
            *given = true;
            return;
        }
        let free = self.free.entry(tensor.elem_count()).or_default();
        free.push(tensor);
    }

    /// From now on the tensor is not taken back: whoever holds it reads it after another layer is done with it.
    pub(crate) fn hold(&mut self, tensor: &Tensor) {
        self.held.push((tensor.id(), false));
    }

    /// Ends a hold. Says whether the tensor was given back meanwhile, so that nobody else reads it any more.
    pub(crate) fn release(&mut self, tensor: &Tensor) -> bool {
        let held = self.held.iter().rposition(|(it, _)| *it == tensor.id());
        held.is_some_and(|at| self.held.swap_remove(at).1)
    }
}
