package schemas

import "fmt"

// Scope is the identity system that minted an id.
type Scope string

// The two scopes (operator model/IdentityScope.java).
const (
	EUID Scope = "euid"
	UID2 Scope = "uid2"
)

// ParseScope accepts "euid" and "uid2".
func ParseScope(s string) (Scope, error) {
	switch Scope(s) {
	case EUID, UID2:
		return Scope(s), nil
	}
	return "", fmt.Errorf("scope %q is neither euid nor uid2", s)
}

// Environment is the deployment that minted an id. Ids of one mean nothing to
// the other.
type Environment string

// The two environments that the docs name.
const (
	Production  Environment = "production"
	Integration Environment = "integration"
)

// ParseEnvironment accepts "production" and "integration".
func ParseEnvironment(s string) (Environment, error) {
	switch Environment(s) {
	case Production, Integration:
		return Environment(s), nil
	}
	return "", fmt.Errorf("environment %q is neither production nor integration", s)
}
