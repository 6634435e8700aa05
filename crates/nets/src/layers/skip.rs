//! A level of a U-Net.

use super::values::{read, write};
use super::{Chain, Layer, Pass, Visitor};
use crate::kernels::concat;
use candle_core::{Result, Tensor};

/// `decode([inner(a), a])` with `a = encode(x)`, joined along the channels (Ronneberger et al. 2015). `inner`
/// begins with a pool and ends where its picture has the size of `a` again; it may hold the next level.
///
/// In a file the names are those of the three chains: their prefixes have to differ.
#[derive(Debug)]
pub struct Skip {
    encode: Chain,
    inner: Chain,
    decode: Chain,
    /// Channels of `inner(a)` and of `a`, of the last forward pass.
    channels: [usize; 2],
}

impl Skip {
    pub const fn new(encode: Chain, inner: Chain, decode: Chain) -> Self {
        Self {
            encode,
            inner,
            decode,
            channels: [0; 2],
        }
    }

    /// The joined picture. Each of the two is given back where nobody reads it any more.
    fn join(&mut self, inner: Tensor, a: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let (n, h, w, of_inner) = inner.dims4()?;
        let (_, a_h, a_w, of_a) = a.dims4()?;
        if (h, w) != (a_h, a_w) {
            let text = format!(
                "a skip connection joins pictures of one size, these are {w} x {h} and {a_w} x {a_h}"
            );
            return Err(candle_core::Error::Msg(text));
        }
        self.channels = [of_inner, of_a];
        let joined = pass.take(&[n, h, w, of_inner + of_a])?;
        {
            let (inner, a) = (read(&inner)?, read(a)?);
            write(&joined, |out| concat::join(&inner, &a, self.channels, out))?;
        }
        pass.give(inner);
        Ok(joined)
    }
}

/// On a card, where no layer writes over what it was given.
impl Skip {
    fn forward_on_card(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let a = self.encode.forward(x, pass)?;
        let inner = self.inner.forward(a.clone(), pass)?;
        self.channels = [inner.dim(1)?, a.dim(1)?];
        self.decode.forward(Tensor::cat(&[inner, a], 1)?, pass)
    }

    fn backward_on_card(
        &mut self,
        dy: Tensor,
        wanted: bool,
        pass: &mut Pass,
    ) -> Result<Option<Tensor>> {
        let Some(joined) = self.decode.backward(dy, true, pass)? else {
            return Ok(None);
        };
        let [of_inner, of_a] = self.channels;
        let inner = joined.narrow(1, 0, of_inner)?.contiguous()?;
        let Some(da) = self.inner.backward(inner, true, pass)? else {
            return Ok(None);
        };
        let da = (da + joined.narrow(1, of_inner, of_a)?)?;
        self.encode.backward(da, wanted, pass)
    }

    fn infer_on_card(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        let a = self.encode.infer(x, pass)?;
        let inner = self.inner.infer(a.clone(), pass)?;
        self.decode.infer(Tensor::cat(&[inner, a], 1)?, pass)
    }
}

impl Layer for Skip {
    fn forward(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.forward_on_card(x, pass);
        }
        let a = self.encode.forward(x, pass)?;
        pass.hold(&a);
        let inner = self.inner.forward(a.clone(), pass)?;
        let is_free = pass.release(&a);
        let joined = self.join(inner, &a, pass)?;
        if is_free {
            pass.give(a);
        }
        self.decode.forward(joined, pass)
    }

    fn backward(&mut self, dy: Tensor, wanted: bool, pass: &mut Pass) -> Result<Option<Tensor>> {
        if pass.is_on_card() {
            return self.backward_on_card(dy, wanted, pass);
        }
        let Some(joined) = self.decode.backward(dy, true, pass)? else {
            return Ok(None);
        };
        let (n, h, w, _) = joined.dims4()?;
        let inner = pass.take(&[n, h, w, self.channels[0]])?;
        {
            let joined = read(&joined)?;
            write(&inner, |it| concat::first(&joined, self.channels, it))?;
        }
        let da = self.inner.backward(inner, true, pass)?;
        let Some(da) = da else { return Ok(None) };
        {
            let joined = read(&joined)?;
            write(&da, |it| concat::add_second(&joined, self.channels, it))?;
        }
        pass.give(joined);
        self.encode.backward(da, wanted, pass)
    }

    fn infer(&mut self, x: Tensor, pass: &mut Pass) -> Result<Tensor> {
        if pass.is_on_card() {
            return self.infer_on_card(x, pass);
        }
        let a = self.encode.infer(x, pass)?;
        pass.hold(&a);
        let inner = self.inner.infer(a.clone(), pass)?;
        let is_free = pass.release(&a);
        let joined = self.join(inner, &a, pass)?;
        if is_free {
            pass.give(a);
        }
        self.decode.infer(joined, pass)
    }

    fn visit(&mut self, prefix: &str, visitor: &mut Visitor<'_>) -> Result<()> {
        self.encode.visit(prefix, visitor)?;
        self.inner.visit(prefix, visitor)?;
        self.decode.visit(prefix, visitor)
    }
}
