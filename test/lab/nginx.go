package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/routerd/routerd/test/lab/interfere"
)

// Downloads are the sizes in bytes that net's servers have under /bytes/SIZE.
func Downloads() []int64 {
	return []int64{
		1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10,
		1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30,
	}
}

const webRoot = runDir + "/www"

// nginxConfig serves every address of net on 80 and 443. reuseport lets the
// Stratum server take 443 of single addresses.
func nginxConfig(names []Name) string {
	var certificates strings.Builder
	seen := map[string]bool{}
	for _, n := range names {
		key := n.Name
		if parent, ok := strings.CutPrefix(n.certificate, "_."); ok {
			key = "*." + parent
		}
		if !seen[key] {
			seen[key] = true
			fmt.Fprintf(&certificates, "\t\t%s %s;\n", key, n.certificate)
		}
	}
	return fmt.Sprintf(`user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
error_log stderr warn;
pid /run/nginx.pid;
events { worker_connections 16384; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	default_type text/plain;
	client_body_temp_path %[2]s/nginx.body;
	proxy_temp_path %[2]s/nginx.proxy;
	fastcgi_temp_path %[2]s/nginx.fastcgi;
	uwsgi_temp_path %[2]s/nginx.uwsgi;
	scgi_temp_path %[2]s/nginx.scgi;
	map_hash_max_size 65536;
	map_hash_bucket_size 256;
	map $ssl_server_name $lab_certificate {
		hostnames;
		default default;
%[1]s	}
	server {
		listen 0.0.0.0:80 reuseport backlog=4096;
		listen [::]:80 ipv6only=on reuseport backlog=4096;
		listen 0.0.0.0:443 ssl http2 reuseport backlog=4096;
		listen [::]:443 ssl http2 ipv6only=on reuseport backlog=4096;
		ssl_certificate %[3]s/$lab_certificate.crt;
		ssl_certificate_key %[3]s/key.pem;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_buffer_size 4k; # a transfer cut short shows some of its bytes
		root %[4]s;
%[5]s		location / { return 200 "host $host\nserver $server_addr\nclient $remote_addr\n"; }
		location /bytes/ { add_header X-Lab-Client $remote_addr; }
	}
}
`, certificates.String(), runDir, certDir, webRoot, statusRules())
}

// statusDir is where net's servers look, at each request, whether the service
// is to answer something else: a file STATUS/HOST, or reject/ADDRESS for a pool.
const statusDir = runDir + "/status"

func statusRules() string {
	var b strings.Builder
	for _, status := range interfere.Statuses() {
		fmt.Fprintf(&b, "\t\tif (-f %[1]s/%[2]d/$host) { return %[2]d \"%[2]d, says the service\\n\"; }\n", statusDir, status)
	}
	return b.String()
}

// makeDownloads creates the files behind Downloads: holes that take no memory.
func (l *Lab) makeDownloads() error {
	pid, err := l.pid(Net)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := enter(pid); err != nil {
			return err
		}
		dir := filepath.Join(webRoot, "bytes")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make downloads: %w", err)
		}
		for _, size := range Downloads() {
			path := filepath.Join(dir, strconv.FormatInt(size, 10))
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				return fmt.Errorf("make download: %w", err)
			}
			if err := os.Truncate(path, size); err != nil {
				return fmt.Errorf("make download: %w", err)
			}
		}
		return nil
	})
}
