package model

// ClientChecks narrow down which certificates of clients are let in, besides the CA that they are verified by. All that
// are set have to hold; they hold for sessions that are resumed too. A client that shows no certificate is not checked.
type ClientChecks struct {
	// Names are DNS names, URIs, mail and IP addresses, one of which the certificate must have among its alternative
	// names (RFC 5280, section 4.2.1.6).
	Names []string `json:"names,omitempty"`

	// Keys and Hashes pin certificates: one of either must be the certificate's. Keys are SHA-256 of the key
	// (SubjectPublicKeyInfo) in base64, Hashes SHA-256 of the certificate in hexadecimal, in lower case.
	Keys   []string `json:"keys,omitempty"`
	Hashes []string `json:"hashes,omitempty"`

	Revoked     string `json:"revoked,omitempty"`     // lists of revoked certificates, PEM; see ParseRevocations
	RevokedFile string `json:"revokedFile,omitempty"` // in place of Revoked: see Listener.ClientCAFile
}

// TLSTerms narrow down what is agreed on with clients. Zero fields are the defaults.
type TLSTerms struct {
	Min string `json:"min,omitempty"` // version of TLS at least: TLS12, which is the default, or TLS13
	Max string `json:"max,omitempty"` // and at most: TLS12, or TLS13, which is the default

	// Suites are those of TLS 1.2, by their IANA names. Those of TLS 1.3 are on always.
	Suites []string `json:"suites,omitempty"`
}

// The versions of TLS.
const (
	TLS12 = "1.2"
	TLS13 = "1.3"
)
