package telemetry

import "strings"

const redacted = "REDACTED"

// sensitiveField is the one list of header fields that are neither logged nor tapped, in lower case.
func sensitiveField(name string) bool {
	switch name {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "apikey",
		"x-auth-token", "x-access-token", "x-amz-security-token", "x-vault-token", "x-consul-token",
		"x-csrf-token", "x-xsrf-token", "x-goog-iap-jwt-assertion", "x-forwarded-access-token",
		"x-forwarded-client-cert", "x-forwarded-authorization", "authentication-info", "sec-websocket-key",
		"x-jwt", "jwt", "x-jwt-assertion", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken":
		return true
	}
	return strings.Contains(name, "secret") || strings.Contains(name, "password") ||
		strings.HasSuffix(name, "-token") || strings.HasSuffix(name, "-api-key")
}

// sensitiveParameter is the one list of query parameters whose values are neither logged nor tapped.
func sensitiveParameter(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "access_token", "id_token", "refresh_token", "token", "auth", "authorization", "code", "jwt", "key",
		"apikey", "api_key", "api-key", "sig", "signature", "x-amz-signature", "x-amz-security-token",
		"x-amz-credential", "x-goog-signature", "session", "sessionid", "pwd":
		return true
	}
	return strings.Contains(name, "secret") || strings.Contains(name, "passw") || strings.Contains(name, "token")
}

// redactPath returns the path with the values of sensitive query parameters replaced. Without any it
// returns p itself.
func redactPath(p string) string {
	at := strings.IndexByte(p, '?')
	if at < 0 || strings.IndexByte(p[at:], '=') < 0 {
		return p
	}
	var out strings.Builder
	done := 0 // bytes of p in out
	for i := at + 1; i < len(p); {
		end := i + strings.IndexAny(p[i:], "&;")
		if end < i {
			end = len(p)
		}
		name, value, ok := strings.Cut(p[i:end], "=")
		if ok && value != "" && sensitiveParameter(name) {
			out.WriteString(p[done : i+len(name)+1])
			out.WriteString(redacted)
			done = end
		}
		i = end + 1
	}
	if done == 0 {
		return p
	}
	out.WriteString(p[done:])
	return out.String()
}
