//! Networks and the device they compute on.
//!
//! What lives here now is the rule that a device is chosen by an explicit setting and that a device which
//! was asked for and is not there is an error, never a silent fall-back. No I/O, no documents, no queues.

mod device;

pub use device::{Device, DeviceError, OpenDevice};
