//! The device setting: `cpu` or `cuda:<n>`.

use crate::layers::{Pass, Precision};
use std::fmt;
use std::str::FromStr;

/// A device as a setting names it. It says what was asked for, not that it is there: see [`Device::open`].
///
/// ```
/// use cellmill_nets::Device;
/// assert_eq!("cuda:1".parse::<Device>().unwrap(), Device::Cuda(1));
/// assert!("gpu".parse::<Device>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The graphics card of this number, from 0.
    Cuda(usize),
}

/// A device that this build and machine have. Whatever computes takes one, so that nothing can compute on a
/// device that nobody opened. Clones are the same device.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    device: Device,
    candle: candle_core::Device,
    precision: Precision,
}

/// Why a device can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The text names no device.
    #[error("device `{text}` is none of `cpu` and `cuda:<n>`")]
    Unknown {
        /// The text as given.
        text: String,
    },
    /// The program can't drive this kind of device.
    #[error(
        "device `{device}` was asked for and this program was built without support for it\nhint: use `cpu`, or the program that `worker-gpu/build-cuda` builds"
    )]
    NotInBuild {
        /// The device asked for.
        device: Device,
    },
    /// The program could drive it and the machine has none of this number, or no driver.
    #[error(
        "device `{device}` can't be used: {reason}\nhint: `nvidia-smi` lists the cards of this machine, from 0"
    )]
    Absent {
        /// The device asked for.
        device: Device,
        /// What the driver said.
        reason: String,
    },
    /// The device does not compute with these numbers.
    #[error(
        "precision `{precision}` is for cards, the processor computes with `f32`\nhint: leave `--precision` out"
    )]
    Precision {
        /// The precision asked for.
        precision: Precision,
    },
}

impl Device {
    /// Opens the device, or says why it can't be used. Call it at start, before the first unit is taken.
    pub fn open(self) -> Result<OpenDevice, DeviceError> {
        match self {
            Self::Cpu => Ok(OpenDevice {
                device: self,
                candle: candle_core::Device::Cpu,
                precision: Precision::F32,
            }),
            Self::Cuda(number) => self.open_card(number),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_card(self, number: usize) -> Result<OpenDevice, DeviceError> {
        // Opening is the only honest question: what candle says before is what it was built with.
        let candle = candle_core::Device::new_cuda(number).map_err(|it| DeviceError::Absent {
            device: self,
            // The rest is where in candle it was noticed.
            reason: it.to_string().lines().next().unwrap_or_default().to_owned(),
        })?;
        Ok(OpenDevice {
            device: self,
            candle,
            precision: Precision::F32,
        })
    }

    #[cfg(not(feature = "cuda"))]
    const fn open_card(self, _number: usize) -> Result<OpenDevice, DeviceError> {
        Err(DeviceError::NotInBuild { device: self })
    }
}

impl OpenDevice {
    /// Which one it is.
    pub const fn device(&self) -> Device {
        self.device
    }

    /// What products are computed with on a card; the processor computes with `f32`.
    pub fn with_precision(self, precision: Precision) -> Result<Self, DeviceError> {
        if precision != Precision::F32 && self.device == Device::Cpu {
            return Err(DeviceError::Precision { precision });
        }
        Ok(Self { precision, ..self })
    }

    /// What a network's passes need of it.
    pub(crate) fn pass(&self, seed: u64) -> Pass {
        Pass::new(&self.candle, seed).with_precision(self.precision)
    }

    /// The same device in candle's words.
    pub(crate) const fn candle(&self) -> &candle_core::Device {
        &self.candle
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown {
            text: text.to_owned(),
        };
        if text == "cpu" {
            return Ok(Self::Cpu);
        }
        let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
        let device = number.parse().map(Self::Cuda).map_err(|_| unknown())?;
        // `cuda:+1` and `cuda:01` would name the same card twice.
        if device.to_string() == text {
            Ok(device)
        } else {
            Err(unknown())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_in_one_way_only() {
        for text in ["cpu", "cuda:0", "cuda:15"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        for text in [
            "", "CPU", "gpu", "cuda", "cuda:", "cuda:x", "cuda:+1", "cuda:01", "cpu:0", " cpu",
        ] {
            let error = text.parse::<Device>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn an_absent_device_is_an_error_that_names_it_and_the_next_step() {
        assert_eq!(Device::Cpu.open().unwrap().device(), Device::Cpu);
        let error = Device::Cuda(3).open().unwrap_err().to_string();
        assert!(
            error.contains("`cuda:3`") && error.contains("hint: use `cpu`"),
            "{error}"
        );
    }
}
