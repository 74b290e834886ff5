package web

import "strconv"

// The status codes that the daemon sends or looks for, RFC 9110 15.
const (
	statusSwitchingProtocols         = 101
	StatusOK                         = 200
	StatusNotModified                = 304
	StatusBadRequest                 = 400
	StatusForbidden                  = 403
	StatusNotFound                   = 404
	StatusMethodNotAllowed           = 405
	StatusRequestTimeout             = 408
	StatusRequestEntityTooLarge      = 413
	StatusUnprocessableEntity        = 422
	StatusUnavailableForLegalReasons = 451
	StatusInternalServerError        = 500
	StatusNotImplemented             = 501
	StatusServiceUnavailable         = 503
	StatusGatewayTimeout             = 504

	statusHeaderTooLarge = 431
	statusVersion        = 505
)

// The methods in use.
const (
	MethodGet  = "GET"
	MethodPost = "POST"
	methodHead = "HEAD"
)

// statusTexts are the names of IANA's registry of status codes, one a line.
const statusTexts = "100 Continue\n101 Switching Protocols\n102 Processing\n103 Early Hints\n" +
	"200 OK\n201 Created\n202 Accepted\n203 Non-Authoritative Information\n204 No Content\n205 Reset Content\n" +
	"206 Partial Content\n207 Multi-Status\n208 Already Reported\n226 IM Used\n" +
	"300 Multiple Choices\n301 Moved Permanently\n302 Found\n303 See Other\n304 Not Modified\n305 Use Proxy\n" +
	"307 Temporary Redirect\n308 Permanent Redirect\n" +
	"400 Bad Request\n401 Unauthorized\n402 Payment Required\n403 Forbidden\n404 Not Found\n405 Method Not Allowed\n" +
	"406 Not Acceptable\n407 Proxy Authentication Required\n408 Request Timeout\n409 Conflict\n410 Gone\n" +
	"411 Length Required\n412 Precondition Failed\n413 Request Entity Too Large\n414 Request URI Too Long\n" +
	"415 Unsupported Media Type\n416 Requested Range Not Satisfiable\n417 Expectation Failed\n418 I'm a teapot\n" +
	"421 Misdirected Request\n422 Unprocessable Entity\n423 Locked\n424 Failed Dependency\n425 Too Early\n" +
	"426 Upgrade Required\n428 Precondition Required\n429 Too Many Requests\n431 Request Header Fields Too Large\n" +
	"451 Unavailable For Legal Reasons\n" +
	"500 Internal Server Error\n501 Not Implemented\n502 Bad Gateway\n503 Service Unavailable\n504 Gateway Timeout\n" +
	"505 HTTP Version Not Supported\n506 Variant Also Negotiates\n507 Insufficient Storage\n508 Loop Detected\n" +
	"510 Not Extended\n511 Network Authentication Required\n"

// StatusText is what a status code is called, "" for one that is not known.
func StatusText(code int) string {
	number := strconv.Itoa(code)
	for at := 0; at < len(statusTexts); {
		end := at
		for statusTexts[end] != '\n' {
			end++
		}
		if statusTexts[at:at+3] == number {
			return statusTexts[at+4 : end]
		}
		at = end + 1
	}
	return ""
}

// statusLine is a status as a status line has it.
func statusLine(code int) string {
	text := StatusText(code)
	if text == "" {
		return strconv.Itoa(code)
	}
	return strconv.Itoa(code) + " " + text
}
