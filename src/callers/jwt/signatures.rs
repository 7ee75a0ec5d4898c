//! Signatures of tokens, checked by `ring`, which TLS uses already: `jsonwebtoken` leaves them to whom it is told.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// What `jsonwebtoken` asks. Nothing is signed here, and no key is made into a JWK.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(Error::from(ErrorKind::InvalidAlgorithm)),
    verifier_factory: |algorithm, key| Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() })),
    jwk_utils: JwkUtils {
        extract_rsa_public_key_components: |_| Err(Error::from(ErrorKind::InvalidKeyFormat)),
        extract_ec_public_key_coordinates: |_, _| Err(Error::from(ErrorKind::InvalidKeyFormat)),
        compute_digest: |_, _| Vec::new(),
    },
};

/// Makes `jsonwebtoken` check signatures here.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Nobody else in the process installs one; if somebody did, it checks the same signatures.
        let _ = PROVIDER.install_default();
    });
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        let by_key = |algorithm: &'static dyn VerificationAlgorithm| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => UnparsedPublicKey::new(algorithm, bytes).verify(message, given),
            DecodingKeyKind::RsaModulusExponent { .. } => Err(ring::error::Unspecified),
        };
        let by_rsa = |parameters: &'static RsaParameters| match self.key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => UnparsedPublicKey::new(parameters, bytes).verify(message, given),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, given)
            }
        };
        // A public key is no secret, whatever algorithm a token is signed with.
        let by_secret = |algorithm: hmac::Algorithm| match (self.key.family(), self.key.kind()) {
            (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(algorithm, secret), message, given)
            }
            _ => Err(ring::error::Unspecified),
        };
        let checked = match self.algorithm {
            Algorithm::HS256 => by_secret(hmac::HMAC_SHA256),
            Algorithm::HS384 => by_secret(hmac::HMAC_SHA384),
            Algorithm::HS512 => by_secret(hmac::HMAC_SHA512),
            Algorithm::ES256 => by_key(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => by_key(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => by_key(&ED25519),
            Algorithm::RS256 => by_rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => by_rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => by_rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => by_rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => by_rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => by_rsa(&RSA_PSS_2048_8192_SHA512),
        };
        checked.map_err(|_| signature::Error::new())
    }
}
