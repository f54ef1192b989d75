//! Mixed precision.

use std::marker::PhantomData;

use tch::Device;

use crate::{Error, Result, ffi};

/// While it lives, matrix products and convolutions of this thread on its device run in bf16. On CUDA layer norm and
/// softmax run in f32; on the CPU they follow their input, so cast by hand where that matters.
///
/// Weights are cast once and the casts kept until the outermost guard goes: let it go before the weights change.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    previous: ffi::AutocastState,
    /// The setting is the thread's.
    not_send: PhantomData<*const ()>,
}

impl Autocast {
    /// Turns bf16 autocast on for the kind of `device`. Backward belongs outside of the guard's life.
    ///
    /// # Errors
    /// `Shape` for a device that is neither the CPU nor CUDA.
    pub fn bf16(device: Device) -> Result<Self> {
        let cuda = match device {
            Device::Cpu => false,
            Device::Cuda(_) => true,
            other => return Err(Error::shape(format!("no autocast on {other:?}"))),
        };
        Ok(Self { cuda, previous: ffi::autocast_enter(cuda)?, not_send: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        ffi::autocast_leave(self.cuda, self.previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    fn product_kind() -> Kind {
        let matrix = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        matrix.matmul(&matrix).kind()
    }

    #[test]
    fn guards_nest_and_restore() {
        assert_eq!(product_kind(), Kind::Float);
        {
            let _outer = Autocast::bf16(Device::Cpu).unwrap();
            assert_eq!(product_kind(), Kind::BFloat16);
            drop(Autocast::bf16(Device::Cpu).unwrap());
            assert_eq!(product_kind(), Kind::BFloat16);
        }
        assert_eq!(product_kind(), Kind::Float);
    }

    #[test]
    fn a_changed_weight_is_cast_anew() {
        let weight = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let product = || {
            let _guard = Autocast::bf16(Device::Cpu).unwrap();
            weight.matmul(&weight).double_value(&[0, 0])
        };
        assert_eq!(product(), 2.0);
        crate::optim::scale(&[weight.shallow_clone()], 3.0).unwrap();
        assert_eq!(product(), 18.0);
    }

    #[test]
    fn an_unknown_device_is_refused() {
        assert_eq!(Autocast::bf16(Device::Mps).unwrap_err().kind, crate::Kind::Shape);
    }
}
