package control

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	apiCertLife  = 365 * 24 * time.Hour
	apiCertSpare = 30 * 24 * time.Hour // one with less left is made anew
)

// ownCertificate returns the files of the API's self-signed certificate, made when there is none or it ends
// soon. SVIDs will not do here: they name workloads, while the API's clients look for a host.
func (s *Server) ownCertificate() (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(s.o.DataDir, "api.crt"), filepath.Join(s.o.DataDir, "api.key")
	if b, err := os.ReadFile(certFile); err == nil {
		if block, _ := pem.Decode(b); block != nil {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err == nil && time.Until(cert.NotAfter) > apiCertSpare {
				return certFile, keyFile, nil
			}
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template, err := apiTemplate(s.o.APIListen)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	// The key first: a certificate without its key would be taken for a whole one at the next start.
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return "", "", fmt.Errorf("certificate of the API: %w", err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return "", "", fmt.Errorf("certificate of the API: %w", err)
	}
	return certFile, keyFile, nil
}

// apiTemplate names the hosts by which clients may reach the API.
func apiTemplate(listen string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Weft API"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(apiCertLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, // it is its own authority
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if host, err := os.Hostname(); err == nil {
		t.DNSNames = append(t.DNSNames, host)
	}
	if host, _, err := net.SplitHostPort(listen); err == nil {
		if ip := net.ParseIP(host); ip == nil && host != "" {
			t.DNSNames = append(t.DNSNames, host)
		} else if ip != nil && !ip.IsUnspecified() {
			t.IPAddresses = append(t.IPAddresses, ip)
		}
	}
	return t, nil
}
