//! Heads as files: safetensors, with the card in the header.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::head::{Curve, TopCurve};
use super::{Calibration, Head, HeadCard, HeadError, HeadParts, LabelKind};
use crate::tagging::EncoderIdentity;

/// Name of the header's entry with what stands in [`Header`].
const HEADER: &str = "otklik_head";

/// Digits of a hash that messages show.
const SHOWN_DIGITS: usize = 12;

/// What the file says about itself. One entry, because the order of several would change from run to run.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    content_sha256: String,
    card: HeadCard,
}

impl Head {
    /// Reads a head and checks every byte of it.
    ///
    /// # Errors
    /// [`HeadError::File`] if it can't be read, [`HeadError::Format`] if it is no head or damaged, [`HeadError::OtherEncoder`] if
    /// its vectors come from another encoder.
    pub fn load(path: &Path, encoder: &EncoderIdentity) -> Result<Self, HeadError> {
        Self::load_hashed(path, encoder).map(|(head, _)| head)
    }

    /// As [`Head::load`], with the SHA-256 of the file, hexadecimal.
    ///
    /// # Errors
    /// As [`Head::load`].
    pub fn load_hashed(path: &Path, encoder: &EncoderIdentity) -> Result<(Self, String), HeadError> {
        let (bytes, Header { content_sha256, card }) = read(path)?;
        let bad = |problem: String| HeadError::Format { path: path.to_owned(), problem };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
        let found = content_hash(TENSORS.iter().filter_map(|name| Some((*name, tensors.tensor(name).ok()?.data()))));
        if found != content_sha256 {
            return Err(bad("is damaged: its content does not have the hash it says".to_owned()));
        }
        if card.encoder_sha256 != encoder.sha256 {
            let short = |sha256: &str| sha256.chars().take(SHOWN_DIGITS).collect();
            return Err(HeadError::OtherEncoder {
                path: path.to_owned(),
                made_for: card.encoder_id.clone(),
                made_for_sha256: short(&card.encoder_sha256),
                encoder: encoder.id.clone(),
                encoder_sha256: short(&encoder.sha256),
            });
        }
        let floats = |name: &str| floats(&tensors, name).map_err(bad);
        let calibration = floats("calibration")?;
        let calibration = match calibration.as_slice() {
            [slope] => Calibration::Softmax { slope: *slope, top: TopCurve::STRAIGHT },
            [slope, of_top, offset] if card.kind == LabelKind::Single => {
                Calibration::Softmax { slope: *slope, top: TopCurve { slope: *of_top, offset: *offset } }
            }
            values => {
                let (rows, _) = values.as_chunks::<3>();
                let curve = |[slope, offset, threshold]: &[f32; 3]| Curve {
                    slope: *slope,
                    offset: *offset,
                    threshold: *threshold,
                };
                Calibration::Curves(rows.iter().map(curve).collect())
            }
        };
        let parts = HeadParts {
            mean: floats("mean")?,
            dense: floats("dense")?,
            hashes: hashes(&tensors).map_err(bad)?,
            rarity: floats("rarity")?,
            sparse: floats("sparse")?,
            bias: floats("bias")?,
            calibration,
        };
        let head = Self::new(card, parts).map_err(bad)?;
        Ok((head, Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Reads a head's card alone: what it says of itself, unchecked.
    ///
    /// # Errors
    /// [`HeadError::File`], [`HeadError::Format`].
    pub fn read_card(path: &Path) -> Result<HeadCard, HeadError> {
        read(path).map(|(_, header)| header.card)
    }

    /// Writes the head. The same head gives the same bytes.
    ///
    /// # Errors
    /// [`HeadError::File`]; nothing half-written is left under the name.
    pub fn save(&self, path: &Path) -> Result<(), HeadError> {
        let failed = |source: std::io::Error| HeadError::File { path: path.to_owned(), source };
        let other = |error: safetensors::SafeTensorError| failed(std::io::Error::other(error));
        let (parts, labels) = (self.parts(), self.card().labels.len());
        let calibration: Vec<f32> = match &parts.calibration {
            Calibration::Softmax { slope, top } => vec![*slope, top.slope, top.offset],
            Calibration::Curves(curves) => {
                curves.iter().flat_map(|curve| [curve.slope, curve.offset, curve.threshold]).collect()
            }
        };
        let calibration_shape = match &parts.calibration {
            Calibration::Softmax { .. } => vec![calibration.len()],
            Calibration::Curves(_) => vec![labels, calibration.len() / labels.max(1)],
        };
        let features = parts.hashes.len();
        let data: [(&str, Dtype, Vec<usize>, Vec<u8>); 7] = [
            ("bias", Dtype::F32, vec![labels], whole(&parts.bias)),
            ("calibration", Dtype::F32, calibration_shape, whole(&calibration)),
            ("dense", Dtype::F16, vec![parts.mean.len(), labels], halves(&parts.dense)),
            ("hashes", Dtype::U32, vec![features], parts.hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect()),
            ("mean", Dtype::F32, vec![parts.mean.len()], whole(&parts.mean)),
            ("rarity", Dtype::F16, vec![features], halves(&parts.rarity)),
            ("sparse", Dtype::F16, vec![features, labels], halves(&parts.sparse)),
        ];
        let header = Header {
            content_sha256: content_hash(data.iter().map(|(name, _, _, bytes)| (*name, bytes.as_slice()))),
            card: self.card().clone(),
        };
        let header = serde_json::to_string(&header).map_err(|error| failed(error.into()))?;
        let views: Vec<(&str, TensorView<'_>)> = data
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<_, _>>()
            .map_err(other)?;
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(other)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        let mut file = std::fs::File::create(&partial).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&partial, path).map_err(failed)
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Header), HeadError> {
    let bytes = std::fs::read(path).map_err(|source| HeadError::File { path: path.to_owned(), source })?;
    let bad = |problem: String| HeadError::Format { path: path.to_owned(), problem };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(format!("not a head: {error}")))?;
    let header = metadata.metadata().as_ref().and_then(|entries| entries.get(HEADER));
    let header = header.ok_or_else(|| bad(format!("not a head: the header has no `{HEADER}`")))?;
    let header = serde_json::from_str(header).map_err(|error| bad(format!("its card: {error}")))?;
    Ok((bytes, header))
}

/// The tensors of a head, in the order that they are hashed.
const TENSORS: [&str; 7] = ["bias", "calibration", "dense", "hashes", "mean", "rarity", "sparse"];

fn content_hash<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = Sha256::new();
    for (name, bytes) in tensors {
        hasher.update(name);
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn whole(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, String> {
    let tensor = tensors.tensor(name).map_err(|error| error.to_string())?;
    match tensor.dtype() {
        Dtype::F32 => {
            let (values, _) = tensor.data().as_chunks::<4>();
            Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        Dtype::F16 => {
            let (values, _) = tensor.data().as_chunks::<2>();
            Ok(values.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect())
        }
        other => Err(format!("{name}: {other:?} where 16- or 32-bit numbers are needed")),
    }
}

fn hashes(tensors: &SafeTensors<'_>) -> Result<Vec<u32>, String> {
    let tensor = tensors.tensor("hashes").map_err(|error| error.to_string())?;
    if tensor.dtype() != Dtype::U32 {
        return Err(format!("hashes: {:?} where 32-bit integers are needed", tensor.dtype()));
    }
    let (values, _) = tensor.data().as_chunks::<4>();
    Ok(values.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}
